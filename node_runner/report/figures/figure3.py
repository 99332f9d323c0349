"""Chen et al. 2018, figure 3, all of it."""

from __future__ import annotations

from . import backward_nfe, error_nfe, nfe_training, time_nfe

TITLE = "Statistics of a trained ODE-net (Chen et al. 2018, figure 3)"
PANELS = (error_nfe.panel, time_nfe.panel, backward_nfe.panel, nfe_training.panel)
