"""Signals that stop a run with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

HANDLED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived, and nothing has to be finished first."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupt:
    """While entered, SIGINT and SIGTERM raise ``Interrupted``; with ``deferred`` set, the first one
    is only noted in ``received``, for the trainer to write a checkpoint and stop.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self.former: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
            self.former = {number: signal.signal(number, self._handle) for number in HANDLED}
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.received = self.received is None, number
        if not (first and self.deferred):
            raise Interrupted(number)
        name = signal.Signals(number).name
        text = (
            f"\n{name}: stopping with a checkpoint, within a long step before it (again: at once)\n"
        )
        os.write(2, text.encode())  # print and logging may be in the middle of a line

    def __call__(self) -> str | None:
        """Return the reason to stop, if there is one."""
        return None if self.received is None else signal.Signals(self.received).name
