"""Chen et al. 2018, section 3.1: speed against accuracy of classifiers at test time."""

from math import nan

from ..curves import evaluation_panel
from ..results import Result

TITLE = "Accuracy against function evaluations at test time"


def _nfe(result: Result) -> float:
    return result.nfe["evaluation"] or nan


def _accuracy(result: Result) -> float:
    return 100 * (1 - result.metric("test/error"))


panel = evaluation_panel(
    _nfe, _accuracy, "test/error", xlabel="NFE of a test batch", ylabel="accuracy (%)"
)
PANELS = (panel,)
