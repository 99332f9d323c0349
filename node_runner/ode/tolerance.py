"""How large an error is, against what is allowed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isnan, nan, sqrt

import torch
from torch import Tensor

from .state import Layout
from .transforms import values_of

Tolerances = float | Sequence[float]


@dataclass
class Norm:
    """The error ratio: max over entries of weight * RMS(error / (atol + rtol max(|y0|, |y1|))).

    The RMS runs over the whole batch, so that NFE depends on it (Hairer, Norsett, Wanner, II.4, eq.
    (4.11); the maximum over entries as in torchdiffeq).

    Args:
        layout: of the state.
        rtol, atol: one number, or one for each entry (quadratures after the state's).
        weights: factor of each entry's ratio. With 0 an entry never shortens a step, but its NaN
            still shows.
        extra: further ratios over |dt| as one tensor, read together with the others.
    """

    layout: Layout
    rtol: Tolerances
    atol: Tolerances
    weights: Sequence[float]
    extra: Callable[[], Tensor] | None = None
    scales: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.rtol = per_entry("rtol", self.rtol, self.layout)
        self.atol = per_entry("atol", self.atol, self.layout)
        self.scales = [
            w / sqrt(max(1, size)) for w, size in zip(self.weights, self.layout.sizes, strict=True)
        ]

    def allowed(self, y0: Tensor, y1: Tensor) -> Tensor:
        """atol + rtol max(|y0|, |y1|), shape (width,)."""
        return torch.addcmul(self.atol, torch.maximum(y0.abs(), y1.abs()), self.rtol)

    def ratios(self, *vectors: Tensor, extra: bool = False) -> list[float]:
        """Weighted RMS of each entry of each scaled vector, then the maximum over entries: the one
        read of a step.
        """
        parts = [part for vector in vectors for part in self.split(vector)]
        norms = (
            torch.linalg.vector_norm(parts[0])
            if len(parts) == 1
            else torch.stack([torch.linalg.vector_norm(part) for part in parts])
        )
        if extra and self.extra is not None:
            norms = torch.cat([norms.reshape(-1), self.extra()])
        values = values_of(norms.reshape(-1))  # synchronises
        n = len(self.scales)
        found = [
            worst([v * s for v, s in zip(values[i : i + n], self.scales, strict=True)])
            for i in range(0, n * len(vectors), n)
        ]
        if extra and self.extra is not None:
            found[-1] = worst([found[-1], *values[n * len(vectors) :]])
        return found

    def split(self, flat: Tensor) -> Sequence[Tensor]:
        return (flat,) if self.layout.alone else flat.split(self.layout.sizes)


def below_rounding(allowed: Tensor, y: Tensor) -> bool:
    """Whether an error of the size ``allowed`` is lost in the rounding of y; reads the device."""
    rounding = torch.finfo(y.dtype).eps / 4 * y.abs()
    return bool(torch.linalg.vector_norm(allowed) < torch.linalg.vector_norm(rounding))


def worst(values: Sequence[float]) -> float:
    """The maximum, NaN if any is (Python's max may lose a NaN)."""
    return nan if any(isnan(v) for v in values) else max(values)


def per_entry(name: str, value: Tolerances, layout: Layout) -> Tensor:
    """One number, 0-dim, or a vector (width,) that repeats each entry's tolerance over its
    elements.
    """
    if isinstance(value, (int, float)):
        return torch.full((), value, dtype=layout.dtype, device=layout.device)
    if len(value) != len(layout.sizes):
        raise ValueError(
            f"{name} has {len(value)} values for {len(layout.sizes)} entries (the state's, then "
            "the quadratures')"
        )
    each = torch.tensor([float(v) for v in value], dtype=layout.dtype, device=layout.device)
    return each.repeat_interleave(torch.tensor(layout.sizes, device=layout.device))


def plain(name: str, value: object) -> Tolerances:
    """A number of any library as a float, several as a list of floats.

    Raises:
        ValueError: for anything else.
    """
    found = value.tolist() if hasattr(value, "tolist") else value  # a tensor or an array
    try:
        if isinstance(found, Sequence) and not isinstance(found, str):
            return [float(v) for v in found]
        return float(found)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, must be a number or one for each entry") from None


def check_rounding(rtol: Tolerances, atol: Tolerances, dtype: torch.dtype) -> None:
    """Warn of tolerances that are below the rounding of a state of order one.

    Warns:
        UserWarning: where both are less than a quarter of the dtype's machine epsilon.
    """
    eps = torch.finfo(dtype).eps
    least = max(min(as_list(rtol)), min(as_list(atol)))
    if least < eps / 4:
        warnings.warn(
            f"rtol={rtol!r} and atol={atol!r} are below the rounding of a {dtype} state ({eps:.2g} "
            "of its size), which no step can keep to: use a float64 state or larger tolerances",
            stacklevel=3,
        )


def as_list(value: float | Sequence[float]) -> list[float]:
    return list(value) if isinstance(value, Sequence) else [float(value)]
