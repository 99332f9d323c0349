"""Fixtures for the tests of the solver core."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def reads(monkeypatch):
    """Counts what would synchronise an accelerator: values that leave a tensor."""
    seen = []

    def counting(name):
        original = getattr(torch.Tensor, name)

        def counted(*args, **kwargs):
            seen.append(name)
            return original(*args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)

    for name in ("tolist", "item", "numpy", "__bool__", "__float__", "__int__"):
        counting(name)
    return seen
