"""A tuple of tensors as one flat vector, and the user's f as a function on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from .rhs import Rhs, State
from .stats import Counts


@dataclass(frozen=True)
class Quadrature:
    """A quantity that is integrated along the path and that f never sees: q' = r(t, y).

    >>> import torch
    >>> from node_runner.ode import Quadrature, Solver
    >>> f = lambda t, y: (-y, (y.sum(),))
    >>> area = [Quadrature(torch.zeros(()))]
    >>> solution = Solver()(f, torch.ones(1), [0.0, 1.0], quadratures=area)
    >>> round(solution.final_quadratures[0].item(), 3)
    0.632

    Args:
        start: Value at ts[0], any shape, of the state's dtype and device.
        weight: factor on its error estimate in step-size control. 0 lets it ride along: it never
            shortens a step, yet a NaN in it still rejects one.
    """

    start: Tensor
    weight: float = 1.0


class Layout:
    """Where each entry of a state, and then each quadrature, lies in one flat vector of length
    ``width``.

    The first ``state_size`` numbers are the state that f sees.
    """

    def __init__(self, state: State, quadratures: Sequence[Quadrature] = ()) -> None:
        self.is_tensor = isinstance(state, Tensor)
        fed = check_state(state)
        entries = [*fed, *check_quadratures(quadratures, fed[0])]
        self.dtype, self.device = fed[0].dtype, fed[0].device
        self.shapes = [tuple(entry.shape) for entry in entries]  # a view takes these sooner
        self.sizes = [entry.numel() for entry in entries]
        self.num_entries = len(fed)
        self.one_entry = len(entries) == 1
        self.width, self.state_size = sum(self.sizes), sum(self.sizes[: self.num_entries])

    def flatten(self, entries: Sequence[Tensor]) -> Tensor:
        """One flat vector of the entries, with their graph. A single entry is not copied."""
        if len(entries) == 1:
            return entries[0].reshape(-1)
        return torch.cat([entry.reshape(-1) for entry in entries])

    def start(self, entries: Sequence[Tensor]) -> Tensor:
        """``flatten`` into a vector of its own, which no later write to an entry changes."""
        flat = self.flatten(entries)
        return flat.clone() if len(entries) == 1 else flat

    def entries(self, flat: Tensor) -> list[Tensor]:
        """The entries of ``flat``, shape (..., width) or (..., state_size), each of shape (...,
        *entry).
        """
        lead = flat.shape[:-1] if flat.dim() > 1 else ()
        if self.one_entry:
            return [viewed(flat, lead + self.shapes[0])]
        sizes = self.sizes if flat.shape[-1] == self.width else self.sizes[: self.num_entries]
        parts = flat.split(sizes, dim=-1)
        shapes = zip(parts, self.shapes, strict=False)
        return [viewed(part, lead + shape) for part, shape in shapes]

    def state(self, flat: Tensor) -> State:
        """The state as the user wrote it, a tensor or a tuple, from ``flat``, shape (..., width or
        state_size).
        """
        if (
            self.one_entry and self.is_tensor and flat.dim() == 1
        ):  # the common case, on the path of every evaluation
            return viewed(flat, self.shapes[0])
        entries = self.entries(flat)
        return entries[0] if self.is_tensor else tuple(entries[: self.num_entries])

    def copies(self, flat: Tensor) -> State:
        """``state`` in tensors of its own, which may be changed in place."""
        entries = [entry.clone() for entry in self.entries(flat)[: self.num_entries]]
        return entries[0] if self.is_tensor else tuple(entries)

    def name(self, entry: int) -> str:
        """What to call an entry in a message."""
        if entry >= self.num_entries:
            return f"quadrature {entry - self.num_entries}"
        return "the state" if self.is_tensor else f"entry {entry} of the state"

    def locate(self, position: int) -> str:
        """Words for one position of the flat vector: its entry and its index there."""
        entry = 0
        while position >= self.sizes[entry]:
            position -= self.sizes[entry]
            entry += 1
        index = []
        for length in reversed(self.shapes[entry]):
            position, i = divmod(position, length)
            index.append(i)
        return f"{self.name(entry)}{list(reversed(index)) if index else ''}"


def viewed(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """tensor.view(shape); torch reads numbers sooner than a tuple of them."""
    return tensor.view(*shape) if shape else tensor.view(shape)


@dataclass(frozen=True)
class RightSide:
    """f on the flat vector, counted: (stage, t, y) -> rates of all entries.

    ``stage`` tells which stage of a step asks (None: the probe that chooses the first step); f
    itself never needs it.
    """

    f: Rhs
    layout: Layout
    counts: Counts

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        self.counts.nfe += 1
        layout, f = self.layout, self.f
        # A fill, not a copy from the host: on an accelerator it costs no synchronisation.
        time = torch.scalar_tensor(t, dtype=layout.dtype, device=layout.device)
        state = layout.state(y)
        if f.autocast is not None or f.takes_gradient:
            return rates(f(time, state), layout)
        f.time = time
        try:  # the common case, without a call between
            returned = f.f(time, state)
        except RuntimeError as error:
            returned = f.again(error, time, state)
        return rates(returned, layout)


def rates(returned: Any, layout: Layout) -> list[Tensor]:
    """What f returned as one tensor per entry, its structure and shapes checked.

    Raises:
        ValueError: naming the entry whose rate is missing or of another shape.
    """
    if layout.one_entry and layout.is_tensor and isinstance(returned, Tensor):
        if returned.shape == layout.shapes[0] and returned.dtype == layout.dtype:
            return [returned]
    quadratures = len(layout.sizes) - layout.num_entries
    state, extra = returned, ()
    if quadratures:
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise ValueError(
                f"with quadratures, f must return (dy, rates of the {quadratures} quadratures)"
            )
        state, extra = returned
    for part, many in ((state, not layout.is_tensor), (extra, True)):
        if many and not isinstance(part, (tuple, list)):
            what = "the rates of the quadratures" if part is extra else "the rate of the state"
            raise ValueError(f"f returned {type(part).__name__} as {what}, which is a tuple")
    found = [*([state] if layout.is_tensor else state), *extra]
    if len(found) != len(layout.sizes):
        raise ValueError(f"f returned {len(found)} rates for {len(layout.sizes)} entries")
    for i, (rate, shape) in enumerate(zip(found, layout.shapes, strict=True)):
        if not isinstance(rate, Tensor) or rate.shape != shape:
            seen = tuple(rate.shape) if isinstance(rate, Tensor) else type(rate).__name__
            raise ValueError(
                f"f returned {seen} as the rate of {layout.name(i)}, which has shape {tuple(shape)}"
            )
        if (
            rate.dtype != layout.dtype
        ):  # a field under autocast answers in half precision; the state keeps its own
            found[i] = rate.to(layout.dtype)
    return found


def check_state(state: object) -> tuple[Tensor, ...]:
    """The entries of y0.

    Raises:
        ValueError: for anything but floating tensors of one dtype on one device.
    """
    entries = (state,) if isinstance(state, Tensor) else state
    if (
        not isinstance(entries, tuple)
        or not entries
        or not all(isinstance(y, Tensor) for y in entries)
    ):
        raise ValueError(f"y0 must be a tensor or a tuple of tensors, got {type(state).__name__}")
    kinds = {(y.dtype, y.device) for y in entries}
    if len(kinds) > 1 or entries[0].dtype not in (torch.float32, torch.float64):
        seen = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise ValueError(f"y0 must be float32 or float64, all entries alike; got {seen}")
    return entries


def check_weight(name: str, weight: Any) -> float:
    """A factor in error control as a float.

    Raises:
        ValueError: for one that is negative, not finite or not a number.
    """
    try:
        value = float(weight)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {weight!r}, must be a number") from None
    if not (isfinite(value) and value >= 0):
        raise ValueError(
            f"{name} is {weight!r}, must be finite and not negative; 0 takes it out of step control"
        )
    return value


def check_quadratures(quadratures: Sequence[Quadrature], like: Tensor) -> list[Tensor]:
    """The starts of the quadratures.

    Raises:
        ValueError: for anything but a sequence of Quadrature, a start of another dtype or on
            another device than ``like``, or a weight that is negative or not finite.
    """
    if not isinstance(quadratures, (list, tuple)):
        raise ValueError(
            f"quadratures is a {type(quadratures).__name__}, must be a list of Quadrature"
        )
    for i, q in enumerate(quadratures):
        if not isinstance(q, Quadrature) or not isinstance(q.start, Tensor):
            seen = f"Quadrature of a {type(q.start).__name__}" if hasattr(q, "start") else q
            raise ValueError(
                f"quadratures[{i}] is {seen!r}, must be a Quadrature whose start is a tensor, such "
                "as Quadrature(torch.zeros(()))"
            )
        check_weight(f"the weight of quadrature {i}", q.weight)
        if q.start.dtype != like.dtype or q.start.device != like.device:
            raise ValueError(
                f"quadrature {i} is {q.start.dtype} on {q.start.device}, the state {like.dtype} on "
                f"{like.device}"
            )
    return [q.start for q in quadratures]
