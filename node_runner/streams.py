"""Standard output and error that cannot fail.

A run goes on when its reader does not (``node-run ... | head``), where the disk behind a
redirection is full, and on a terminal that lacks a sign.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class LenientStream:
    """A text stream that drops what cannot be written from the first failure on.

    Args:
        stream: The stream to write to; None, as of a process started without one, drops all.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = open(os.devnull, "w") if stream is None else stream
        with suppress(AttributeError, ValueError, OSError):  # a stand-in, as in a notebook
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """Lead the descriptor away, or what is in the buffer fails again when Python ends."""
        with suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_lenient(*names: str) -> None:
    """Let this process print and log without failing, to ``stdout``, ``stderr`` or, by default,
    both.
    """
    logging.raiseExceptions = False  # a handler that cannot write is not the run's failure
    for name in names or ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, LenientStream):
            setattr(sys, name, LenientStream(stream))
