"""Errors in one line."""

import pytest


def refused(call, *parts, kind=ValueError):
    """Check that a call raises an error of one line that holds all parts; return the line."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
    return message
