"""Chen et al. 2018, figure 3, all panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import net_options
from ..results import Result
from . import backward_nfe, error_nfe, nfe_training, time_nfe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Statistics of a trained ODE-net (Chen et al. 2018, figure 3)"


def training_panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the training of the nets that the other panels evaluate."""
    nets = [net_options(r) for r in results if r.mode == "evaluate" and "solve/error" in r.metrics]
    nfe_training.panel(axis, [r for r in results if r.mode == "train" and net_options(r) in nets])


PANELS = (error_nfe.panel, time_nfe.panel, backward_nfe.panel, training_panel)
