"""Tolerances of any shape, and error ratios in a norm of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, prod

import torch
from torch import Tensor

from ..state import Layout, State
from ..tolerance import worst
from .form import Form

Tolerance = float | Tensor  # a number, or one for each of the flat state, shape (width,)


@dataclass
class OwnNorm:
    """The error ratio norm(error / (atol + rtol max(|y0|, |y1|))), in the form that the caller
    knows: with moduli of complex numbers, as a tensor or a tuple. Takes the place of ``Norm``.

    A vector of several widths is measured part by part, and the largest counts: so the adjoint's
    (y, a) is, by torchdiffeq's rule.

    Args:
        form, layout: of the state.
        norm: of a state; positively homogeneous, as norms are.
        rtol, atol: see ``tolerance``.
        extra: further ratios over |dt| as one tensor.
    """

    form: Form
    layout: Layout
    norm: Callable[[State], object]
    rtol: Tolerance
    atol: Tolerance
    extra: Callable[[], Tensor] | None = None

    def allowed(self, y0: Tensor, y1: Tensor) -> Tensor:
        """atol + rtol max(|y0|, |y1|), shape (width,)."""
        size = torch.maximum(self.sizes(y0), self.sizes(y1))
        rtol, atol = (repeated(each, size) for each in (self.rtol, self.atol))
        return floored(size * rtol + atol)

    def sizes(self, flat: Tensor) -> Tensor:
        """|y| of each number, that of a complex one at both of its parts."""
        if not any(dtype.is_complex for dtype in self.form.dtypes):
            return flat.abs()
        found = []
        for part in flat.split(self.layout.width):
            for entry, dtype in zip(self.layout.entries(part), self.form.dtypes, strict=True):
                if dtype.is_complex:
                    entry = torch.linalg.vector_norm(entry, dim=-1, keepdim=True).expand_as(entry)
                found.append(entry.abs().reshape(-1))
        return torch.cat(found)

    def ratios(self, *vectors: Tensor, extra: bool = False) -> list[float]:
        """The norm of each scaled vector: the one read of a step."""
        found = [
            torch.as_tensor(self.norm(self.form.outer(self.layout.state(part)))).abs().reshape(())
            for vector in vectors
            for part in vector.split(self.layout.width)
        ]
        more = self.extra() if extra and self.extra is not None else vectors[0][:0]
        device = vectors[0].device
        joined = torch.cat([torch.stack([value.to(device) for value in found]), more])
        values = joined.tolist()  # synchronises
        parts = len(found) // len(vectors)
        ratios = [worst(values[i : i + parts]) for i in range(0, len(found), parts)]
        ratios[-1] = worst([ratios[-1], *values[len(found) :]])
        return ratios


def default_norm(state: State) -> Tensor:
    """The largest RMS of any entry."""
    entries = (state,) if isinstance(state, Tensor) else state
    # The sum over the number: an entry without elements has no mean.
    sums = [(entry.abs().square().sum(), max(1, entry.numel())) for entry in entries]
    return torch.stack([(total / count).sqrt() for total, count in sums]).max()


def floored(allowed: Tensor) -> Tensor:
    """At least the smallest number above zero, so that no error is 0 / 0 where atol is 0."""
    return allowed.clamp_min(torch.finfo(allowed.dtype).tiny)


def repeated(tolerance: Tolerance, like: Tensor) -> Tolerance:
    """The tolerance for a vector of as many widths as ``like`` has."""
    if not isinstance(tolerance, Tensor):
        return tolerance
    return tolerance.repeat(like.numel() // tolerance.numel())


def tightest(tolerance: Tolerance) -> float:
    if not isinstance(tolerance, Tensor):
        return tolerance
    return tolerance.min().item() if tolerance.numel() else inf


def tolerance(name: str, value: object, form: Form, layout: Layout) -> Tolerance:
    """A tolerance as a number or spread over the flat state.

    Args:
        name: of the argument, for messages.
        value: a number; a tensor that broadcasts to the state; or, for a tuple, one of either for
            each entry (a tensor may be flat).

    Raises:
        ValueError: for one that does not fit, is negative, or requires a gradient.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(f"{name} requires a gradient, which no tolerance has: {name}.detach()")
    if isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0:
        number = float(value)
        if not number >= 0:
            raise ValueError(f"{name} is {number!r}, must not be negative")
        return number
    parts = [value] if form.single else entries_of(name, value, len(form.dtypes))
    spread = [
        fit(name if form.single else f"{name}[{i}]", part, shape, dtype, layout)
        for i, (part, shape, dtype) in enumerate(
            zip(parts, layout.shapes, form.dtypes, strict=True)
        )
    ]
    whole = torch.cat(spread)
    if not bool((whole >= 0).all()):
        raise ValueError(f"{name} has negative values or NaN, must not")
    return whole


def entries_of(name: str, value: object, count: int) -> Sequence[object]:
    """One tolerance for each entry of a tuple."""
    try:
        parts = tuple(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}, must be a number or one for each entry") from None
    if len(parts) != count:
        raise ValueError(f"{name} has {len(parts)} values for the {count} entries of y0")
    return parts


def fit(
    name: str, value: object, shape: tuple[int, ...], dtype: torch.dtype, layout: Layout
) -> Tensor:
    """The tolerance of one entry, flat."""
    if isinstance(value, Tensor) and value.requires_grad:
        raise ValueError(f"{name} requires a gradient, which no tolerance has: {name}.detach()")
    each = torch.as_tensor(value, dtype=layout.dtype, device=layout.device)
    seen = shape[:-1] if dtype.is_complex else shape
    if each.dim() == 1 and each.numel() == prod(seen):
        each = each.view(seen)
    try:
        each = each.expand(seen)
    except RuntimeError:
        raise ValueError(
            f"{name} has shape {tuple(each.shape)}, must broadcast to {tuple(seen)}"
        ) from None
    return (each[..., None].expand(shape) if dtype.is_complex else each).reshape(-1)
