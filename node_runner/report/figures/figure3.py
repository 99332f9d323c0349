"""Chen et al. 2018, figure 3, all of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import net_of
from ..results import Result
from . import backward_nfe, error_nfe, nfe_training, time_nfe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Statistics of a trained ODE-net (Chen et al. 2018, figure 3)"


def training(axis: Axes, results: Sequence[Result]) -> None:
    """Of the nets that the other panels evaluate."""
    nets = [net_of(r) for r in results if r.mode == "evaluate" and "solve/error" in r.metrics]
    nfe_training.panel(axis, [r for r in results if r.mode == "train" and net_of(r) in nets])


PANELS = (error_nfe.panel, time_nfe.panel, backward_nfe.panel, training)
