"""Chen et al. 2018, figure 3d: means over the steps between two points of the log."""

from ..curves import training_panel

TITLE = "Function evaluations over training"

panel = training_panel("nfe/forward", "NFE forward")
PANELS = (panel,)
