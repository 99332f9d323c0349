"""Chen et al. 2018, figure 3b: time of a solve of trained nets at several tolerances."""

from ..curves import evaluation_panel

TITLE = "Time against function evaluations"

panel = evaluation_panel(
    "solve/nfe_forward",
    "solve/forward_ms",
    xlabel="NFE forward",
    ylabel="time per solve (ms)",
    xlim=(0, None),
    ylim=(0, None),
)
PANELS = (panel,)
