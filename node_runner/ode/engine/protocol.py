"""What the loop asks of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from ..loop import Path


class Stepper(Protocol):
    """Takes the steps of a path whose stages are a ``Tape``.

    Attributes:
        fresh: evaluates stage 0 itself.
        interpolates: leaves all rates of a step in the path's stages.
    """

    fresh: bool
    interpolates: bool

    def __call__(self, path: Path, t1: float) -> Tensor:
        """The end of a step to t1."""

    def read(self) -> float:
        """The error ratio of the step just taken: the one read of a step."""

    def retrace(self, path: Path, t1: float) -> None:
        """Take the step to t1 again so that all its rates and its error are there."""
