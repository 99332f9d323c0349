"""Progress display: a tqdm bar on a terminal, otherwise about 20 log lines per run and at least one
per minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from math import inf

from tqdm import tqdm

from .state import Progress

__all__ = ["Status", "steps_with_bar"]

log = logging.getLogger(__name__)

QUIET = 60.0  # seconds without a line
SLOW = 10.0  # seconds until the first line about a long step
FORESEEN = 3 * 86400.0  # seconds; a run whose steps last longer ends for another reason

SHOWN: list[tuple[str, str, Callable[[float], str]]] = [
    ("train/loss", "loss", "{:.4f}".format),
    ("train/nll", "nll", "{:.4f}".format),
    ("train/bits_per_dim", "bits/dim", "{:.4f}".format),
    ("train/accuracy", "accuracy", "{:.4f}".format),
    ("nfe/forward", "nfe forward", "{:.0f}".format),
    ("nfe/backward", "backward", "{:.0f}".format),
]


class Status:
    """Progress within a long step, an evaluation or the drawing of figures.

    Attributes:
        what: Name of what is being done.
        bar: Progress bar, while there is one.
        left: Returns the seconds that a limit of time leaves.
    """

    def __init__(self) -> None:
        self.what = ""
        self.bar: tqdm | None = None
        self.left: Callable[[], float] = lambda: inf
        self.began = self.said = time.monotonic()

    def start(self, what: str) -> None:
        """Name what begins now."""
        self.what = what
        self.began = self.said = time.monotonic()

    def tell(self, progress: str) -> None:
        """Show progress on the bar, else in a log line after ten seconds and then every minute."""
        now = time.monotonic()
        if self.bar is not None:
            if now - self.began > SLOW / 10:
                self.bar.set_postfix_str(progress)
            return
        if now - self.said < (SLOW if self.said == self.began else QUIET):
            return
        self.said = now
        log.info("%s: %s, %.0f s", self.what, progress, now - self.began)


def steps_with_bar(
    done: Progress, total: int, log_every: int, bar: bool, status: Status
) -> Iterator[int]:
    """Yield the step numbers from ``done.step`` on, and show a bar or log lines between them."""
    first, seconds, every = done.step, done.seconds, max(log_every, total // 20)
    said = seconds
    with tqdm(total=total, initial=first, disable=not bar, dynamic_ncols=True) as shown:
        for step in range(first, total):
            status.start(f"step {step + 1}/{total}")
            status.bar = shown if bar else None
            yield step
            status.bar = None
            shown.update()
            if done.step % log_every == 0:
                shown.set_postfix_str(_brief(done.means), refresh=False)
            waited = done.seconds - said >= QUIET and done.step % log_every == 0
            if not bar and (done.step % every == 0 or done.step == total or waited):
                said = done.seconds
                left = (done.seconds - seconds) / (done.step - first) * (total - done.step)
                left = min(left, max(0.0, status.left()))
                ends = f"  {left:.0f} s left" if left < FORESEEN else ""
                log.info("step %d/%d  %s%s", done.step, total, _brief(done.means), ends)


def _brief(means: dict[str, float]) -> str:
    """Return the few means that a bar has room for."""
    return "  ".join(f"{label} {form(means[tag])}" for tag, label, form in SHOWN if tag in means)
