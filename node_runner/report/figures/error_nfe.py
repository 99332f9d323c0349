"""Chen et al. 2018, figure 3a: error of trained nets, solved at several tolerances."""

from ..curves import evaluation_panel

TITLE = "Numerical error against function evaluations"

panel = evaluation_panel(
    "solve/nfe_forward",
    "solve/error",
    xlabel="NFE forward",
    ylabel="relative error |y - y*| / |y*|",
    yscale="log",
)
PANELS = (panel,)
