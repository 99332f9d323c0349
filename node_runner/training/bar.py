"""What a person sees of training: a bar on a terminal; elsewhere some twenty log lines, and one a
minute where twenty are far apart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from math import inf

from tqdm import tqdm

from .state import Progress

log = logging.getLogger(__name__)

QUIET = 60.0  # seconds without a line
SLOW = 10.0  # seconds until what takes long is told of first
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
    """What is shown within a step, an evaluation or a drawing that takes long.

    Attributes:
        what: what is being done, as words.
        bar: the bar, while there is one.
        left: seconds that a limit of time leaves.
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
        """Show how far it has come: on the bar, else in a log line after ten seconds, and then one
        a minute.
        """
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
    """The step numbers from ``done.step`` on."""
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
                shown.set_postfix_str(brief(done.means), refresh=False)
            waited = done.seconds - said >= QUIET and done.step % log_every == 0
            if not bar and (done.step % every == 0 or done.step == total or waited):
                said = done.seconds
                left = (done.seconds - seconds) / (done.step - first) * (total - done.step)
                left = min(left, max(0.0, status.left()))
                ends = f"  {left:.0f} s left" if left < FORESEEN else ""
                log.info("step %d/%d  %s%s", done.step, total, brief(done.means), ends)


def brief(means: dict[str, float]) -> str:
    """What a bar has room for."""
    return "  ".join(f"{label} {form(means[tag])}" for tag, label, form in SHOWN if tag in means)
