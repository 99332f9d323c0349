"""Error norm of step-size control: errors relative to the tolerances."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import inf, isnan, nan, sqrt
from typing import Any

import torch
from torch import Tensor

from .errors import OptionError
from .state import Layout
from .transforms import values_of

Tolerances = float | Sequence[float | Tensor]
"""One number, or one for each entry of the state, there a number or a tensor that broadcasts."""


class ErrorNorm:
    """The error ratio: max over entries of weight * RMS(error / (atol + rtol max(|y0|, |y1|))).

    The RMS runs over the whole batch, so that NFE depends on it (Hairer, Norsett, Wanner, II.4, eq.
    (4.11); the maximum over entries as in torchdiffeq).

    Args:
        layout: of the state.
        rtol, atol: one number, or one for each entry (quadratures after the state's).
        weights: factor of each entry's ratio. With 0 an entry never shortens a step, but its NaN
            still shows.
        extra: further ratios over |dt| as one tensor, read together with the others.
        error_norm: measures the state's entries instead, a list of them, whatever their weights.
        states: as many states lie side by side, each measured by itself.
    """

    def __init__(
        self,
        layout: Layout,
        rtol: Tolerances,
        atol: Tolerances,
        weights: Sequence[float],
        extra: Callable[[], Tensor] | None = None,
        error_norm: Callable[[Sequence[Tensor]], object] | None = None,
        states: int = 1,
    ) -> None:
        self.layout, self.extra, self.error_norm, self.states = layout, extra, error_norm, states
        self.rtol = per_entry("rtol", rtol, layout)
        self.atol = per_entry("atol", atol, layout)
        self.factors = [
            w / sqrt(max(1, size)) for w, size in zip(weights, layout.sizes, strict=True)
        ]
        if error_norm is not None:
            self.factors[: layout.num_entries] = [1.0] * states

    def scale(self, y0: Tensor, y1: Tensor) -> Tensor:
        """atol + rtol max(|y0|, |y1|), shape (width,)."""
        return torch.addcmul(self.atol, torch.maximum(y0.abs(), y1.abs()), self.rtol)

    def error_ratios(self, *vectors: Tensor, extra: bool = False) -> list[float]:
        """Weighted RMS of each entry of each scaled vector, then the maximum over entries: the one
        read of a step.
        """
        parts = [norm for vector in vectors for norm in self.norms(vector)]
        norms = parts[0] if len(parts) == 1 else torch.stack(parts)
        if extra and self.extra is not None:
            norms = torch.cat([norms.reshape(-1), self.extra()])
        values = values_of(norms.reshape(-1))  # synchronises
        n = len(self.factors)
        found = [
            worst([v * s for v, s in zip(values[i : i + n], self.factors, strict=True)])
            for i in range(0, n * len(vectors), n)
        ]
        if extra and self.extra is not None:
            found[-1] = worst([found[-1], *values[n * len(vectors) :]])
        return found

    def norms(self, flat: Tensor) -> list[Tensor]:
        """Of each entry, 0-dim, before they are scaled."""
        if self.error_norm is not None:
            return self.custom_norms(flat, self.error_norm)
        if self.layout.one_entry:
            return [torch.linalg.vector_norm(flat)]
        return [torch.linalg.vector_norm(part) for part in flat.split(self.layout.sizes)]

    def custom_norms(
        self, flat: Tensor, error_norm: Callable[[Sequence[Tensor]], object]
    ) -> list[Tensor]:
        """Return ``error_norm`` of each state, and the 2-norm of each quadrature."""
        entries, count = self.layout.entries(flat), self.layout.num_entries
        size = count // self.states
        norms = [error_norm(entries[i : i + size]) for i in range(0, count, size)]
        for norm in norms:
            if not isinstance(norm, (int, float)) and getattr(norm, "numel", lambda: 0)() != 1:
                seen = f"shape {tuple(norm.shape)}" if isinstance(norm, Tensor) else repr(norm)
                raise OptionError(f"error_norm returned {seen}, must return one number")
        return [
            *(torch.as_tensor(norm).abs().reshape(()).to(flat) for norm in norms),
            *map(torch.linalg.vector_norm, entries[count:]),
        ]


def below_rounding(allowed: Tensor, y: Tensor) -> bool:
    """Whether an error of the size ``allowed`` is lost in the rounding of y; reads the device."""
    rounding = torch.finfo(y.dtype).eps / 4 * y.abs()
    return bool(torch.linalg.vector_norm(allowed) < torch.linalg.vector_norm(rounding))


def worst(values: Sequence[float]) -> float:
    """The maximum, NaN if any is (Python's max may lose a NaN)."""
    return nan if any(isnan(v) for v in values) else max(values)


def per_entry(name: str, value: Tolerances, layout: Layout) -> Tensor:
    """One number, 0-dim, or a vector (width,) of the tolerance of each element.

    Raises:
        OptionError: for another number of entries, or a tensor that does not broadcast.
    """
    dtype, device = layout.dtype, layout.device
    if isinstance(value, (int, float)):
        return torch.full((), value, dtype=dtype, device=device)
    if len(value) != len(layout.sizes):
        raise OptionError(
            f"{name} has {len(value)} values for {len(layout.sizes)} entries (the state's, "
            "then the quadratures')"
        )
    parts = []
    for i, (part, shape) in enumerate(zip(value, layout.shapes, strict=True)):
        tolerance = torch.as_tensor(part, dtype=dtype, device=device)
        try:
            parts.append(tolerance.expand(shape).reshape(-1))
        except RuntimeError:
            raise OptionError(
                f"{name}[{i}] has shape {tuple(tolerance.shape)}, must broadcast to {shape}"
            ) from None
    return torch.cat(parts)


def as_tolerance(name: str, value: Any) -> Tolerances:
    """A number of any library as a float, several as a list of floats and tensors.

    Raises:
        ValueError: for anything else, or a tensor that requires a gradient.
    """
    found = detached(name, value)
    found = found.tolist() if hasattr(found, "tolist") else found  # a tensor or an array
    try:
        if isinstance(found, Sequence) and not isinstance(found, str):
            return [number_or_tensor(name, each) for each in found]
        return float(found)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, must be a number or one for each entry") from None


def number_or_tensor(name: str, value: Any) -> float | Tensor:
    """The tolerance of one entry."""
    value = detached(name, value)
    if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0:
        return torch.as_tensor(value, dtype=torch.float64)
    return float(value)


def detached(name: str, value: Any) -> Any:
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(f"{name} requires a gradient, which no tolerance has: {name}.detach()")
    return value


def as_list(value: Tolerances) -> list[float]:
    """All numbers of a tolerance."""
    if not isinstance(value, Sequence):
        return [float(value)]
    parts = (part.flatten().tolist() if isinstance(part, Tensor) else [part] for part in value)
    return [number for part in parts for number in part]


def tightest(tolerance: Tolerances) -> float:
    """The smallest of its numbers."""
    return tolerance if isinstance(tolerance, float) else min(as_list(tolerance), default=inf)


def check_rounding(rtol: Tolerances, atol: Tolerances, dtype: torch.dtype) -> None:
    """Warn of tolerances that are below the rounding of a state of order one.

    Warns:
        UserWarning: where both are less than a quarter of the dtype's machine epsilon.
    """
    eps = torch.finfo(dtype).eps
    least = max(tightest(rtol), tightest(atol))
    if least < eps / 4:
        warnings.warn(
            f"rtol={rtol!r} and atol={atol!r} are below the rounding of a {dtype} state ({eps:.2g} "
            "of its size), which no step can keep to: use a float64 state or larger tolerances",
            stacklevel=3,
        )
