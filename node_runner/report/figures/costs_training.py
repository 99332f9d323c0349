"""Finlay et al. 2020, the ablation: cost of a flow over training, with and without regularizers.

A run has one colour in all panels, and is left out where it has no curve. A regularizer of weight 0
only measures, so that runs without it can be compared.
"""

from collections.abc import Sequence

from ..curves import NothingToDraw, split_by, training_panel
from ..results import Result

TITLE = "Function evaluations, Jacobian and kinetic energy over training"
COSTS = {"cost/jacobian": "mean squared norm of the Jacobian", "cost/kinetic": "kinetic energy"}
MEASURE = (
    "regularizer=rnode has both; regularizer.jacobian.weight=0 and regularizer.kinetic.weight=0 "
    "only measure them"
)


def split(results: Sequence[Result]) -> list[list[Result]]:
    """Split the trained runs by task and data set.

    Raises:
        NothingToDraw: if no run has one of the costs.
    """
    trained = [result for result in results if result.mode == "train"]
    kinds = split_by(trained, lambda r: (r.task, r.data["name"]))
    parts = [runs for runs in kinds if all(any(r.curve(c) for r in runs) for c in COSTS)]
    if not parts:
        raise NothingToDraw(f"no run has {' and '.join(COSTS)} in its metrics.jsonl: {MEASURE}")
    return parts


PANELS = (
    training_panel("nfe/forward", "NFE forward"),
    *(training_panel(tag, name) for tag, name in COSTS.items()),
)
