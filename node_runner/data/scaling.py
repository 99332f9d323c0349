"""Scaling by statistics of a run's rows, which belong to the run and go into its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Scaling:
    """u = (x - shift) / scale, feature by feature, in float64.

    Attributes:
        shift, scale: (D,).
        columns: which columns of a file are used, (D,), where its rows decide on that.
    """

    shift: np.ndarray
    scale: np.ndarray
    columns: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """u of x, (..., D)."""
        return (x - self.shift) / self.scale

    def undo(self, u: Tensor) -> Tensor:
        """x of u, (..., D), in float64: in float32 a large shift would leave nothing of u."""
        shift, scale = (torch.from_numpy(part).to(u.device) for part in (self.shift, self.scale))
        return u.double() * scale + shift

    @property
    def nats(self) -> float:
        """-log p(x) less -log p(u), sum_i log scale_i: from a density of u to one of x."""
        return float(np.log(np.abs(self.scale)).sum())

    def state_dict(self) -> dict[str, Tensor | None]:
        """Tensors, for a checkpoint."""
        parts = {"shift": self.shift, "scale": self.scale, "columns": self.columns}
        return {key: None if x is None else torch.from_numpy(x) for key, x in parts.items()}

    def summary(self) -> dict[str, Any]:
        """Plain lists, for a result."""
        parts = {key: x for key, x in self.state_dict().items() if x is not None}
        return {key: x.tolist() for key, x in parts.items()} | {"nats": self.nats}


def scaling_of(state: Mapping[str, Any] | None) -> Scaling | None:
    """The scaling of the run that is evaluated or resumed, if it has one."""
    if state is None or "shift" not in state:
        return None
    shift, scale = (state[key].cpu().numpy() for key in ("shift", "scale"))
    columns = state["columns"]
    return Scaling(shift, scale, None if columns is None else columns.cpu().numpy())


def z_score(
    rows: np.ndarray, source: str, ddof: int = 0, columns: np.ndarray | None = None
) -> Scaling:
    """(x - mean) / sd, column by column.

    Args:
        rows: that give mean and standard deviation, the squares divided by rows - ddof.
        source: named where a column is constant.
        columns: of the source that the rows hold, where that is not all of them.

    Raises:
        ValueError: for a column that is constant, to the rounding of its values.
    """
    low, high = rows.min(axis=0), rows.max(axis=0)
    rounding = 8 * np.finfo(np.float64).eps * np.maximum(np.abs(low), np.abs(high))
    constant = np.flatnonzero(high - low <= rounding)
    if len(constant):
        raise ValueError(
            f"{source}: column {constant[0]} (the first is 0) of those used is constant, and "
            "cannot be scaled to unit variance"
        )
    return Scaling(rows.mean(axis=0), rows.std(axis=0, ddof=ddof), columns)


def far_from_unit(rows: np.ndarray, names: Sequence[str] | None = None) -> str | None:
    """The column whose mean or deviation is the farthest from those of N(0, 1), by a factor of ten
    or more, in words; None if there is none.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, sd = rows.mean(axis=0), rows.std(axis=0)
    size = np.maximum(np.abs(mean), sd)
    factor = np.maximum(size, 1 / np.maximum(size, np.finfo(np.float64).tiny))
    factor = np.where((sd == 0) & (np.abs(mean) < 10), 1.0, factor)  # no scale would help it
    worst = int(factor.argmax())
    if not factor[worst] >= 10:
        return None
    return (
        f"column {worst} (the first is 0) has mean {mean[worst]:.4g} and deviation {sd[worst]:.4g}"
    )
