"""States as the caller writes them, converted to what is solved: real tensors of one dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from .error_norm import Tolerances, as_list, as_tolerance
from .state import State

HALVES = (torch.float16, torch.bfloat16)
REALS = (*HALVES, torch.float32, torch.float64)
DTYPES = (*REALS, torch.complex64, torch.complex128)


@dataclass(frozen=True)
class StateConversion:
    """Converts a state between the caller's form, as func, norms and callbacks see it, and the
    solver's.

    A complex entry of shape (...) is solved as a real one of shape (..., 2), float16 and bfloat16
    as float32: func still sees its own dtype, and only the sums of a step are more exact.

    Attributes:
        dtypes, shapes: of the entries, as the caller has them.
        real: dtype of all of them in the solver, float32 or float64.
        is_tensor: the state is a tensor, not a tuple of them.
    """

    dtypes: tuple[torch.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]
    real: torch.dtype
    is_tensor: bool

    @property
    def same(self) -> bool:
        """Whether nothing is converted."""
        return all(dtype == self.real for dtype in self.dtypes)

    @property
    def time(self) -> torch.dtype:
        """Of the t that func sees: the real dtype of the first entry."""
        return self.dtypes[0].to_real()

    def encode(self, state: State) -> State:
        """Return the state as it is solved, with its graph."""
        entries = (state,) if self.is_tensor else state
        found = [inside(y, dt, self.real) for y, dt in zip(entries, self.dtypes, strict=True)]
        return found[0] if self.is_tensor else tuple(found)

    def decode(self, state: State) -> State:
        """Return the state as the caller has it; leading dimensions, such as that of times, are
        kept.
        """
        if self.same:
            return state
        entries = (state,) if self.is_tensor else state
        found = [outside(y, dtype) for y, dtype in zip(entries, self.dtypes, strict=True)]
        return found[0] if self.is_tensor else tuple(found)

    def tolerance(self, name: str, value: Any) -> Tolerances:
        """Return a tolerance as ``Solver`` takes it: a number, or one or a tensor for each entry.

        Raises:
            ValueError: for one that does not fit the state, or is negative.
        """
        if isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0:
            found = as_tolerance(name, value)
        else:
            parts = [value] if self.is_tensor else value
            if not hasattr(parts, "__len__") or isinstance(parts, str):
                raise ValueError(f"{name} is {value!r}, must be a number or one for each entry")
            if len(parts) != len(self.dtypes):
                raise ValueError(
                    f"{name} has {len(parts)} values for the {len(self.dtypes)} entries of y0"
                )
            found = as_tolerance(name, [self._entry(name, i, part) for i, part in enumerate(parts)])
        if not all(v >= 0 for v in as_list(found)):
            raise ValueError(f"{name} is {value!r}, must not be negative")
        return found

    def _entry(self, name: str, i: int, value: Any) -> Any:
        """Check the tolerance of one entry; that of a complex one is for both of its parts."""
        found = torch.as_tensor(value) if hasattr(value, "__len__") else value
        if getattr(found, "ndim", 0):
            try:
                found.expand(self.shapes[i])
            except RuntimeError:
                raise ValueError(
                    f"{name} has shape {tuple(found.shape)}, must broadcast to {self.shapes[i]}"
                ) from None
            return found[..., None] if self.dtypes[i].is_complex else found
        return found

    def wrap(self, func: Callable) -> Callable:
        """Return func on states as they are solved; func itself where nothing is converted."""
        if self.is_tensor and self.same:
            return func

        def f(t: Tensor, state: State) -> object:
            time = vars(f)["converted_time"] = t.to(self.time)
            return self.rates(func(time, self.decode(state)), state)

        return f

    def rates(self, returned: object, state: State) -> object:
        """Convert what func returned. An entry of another shape with as many numbers is reshaped;
        what does not fit at all is left for the solver to refuse.
        """
        like = (state,) if self.is_tensor else state
        found = [returned] if self.is_tensor else returned
        if not isinstance(found, (tuple, list)) or len(found) != len(like):
            return returned
        fitted = []
        for rate, entry, dtype in zip(found, like, self.dtypes, strict=True):
            if isinstance(rate, Tensor):
                rate = inside(rate, dtype, self.real)
                if not self.is_tensor and rate.shape != entry.shape:
                    rate = rate.reshape(entry.shape) if rate.numel() == entry.numel() else rate
            fitted.append(rate)
        return fitted[0] if self.is_tensor else tuple(fitted)


def inside(y: Tensor, dtype: torch.dtype, real: torch.dtype) -> Tensor:
    y = y.to(dtype)
    # No view_as_real: its gradient is a view as well, which may start at an odd place.
    return (torch.stack([y.real, y.imag], -1) if dtype.is_complex else y).to(real)


def outside(y: Tensor, dtype: torch.dtype) -> Tensor:
    if not dtype.is_complex:
        return y.to(dtype)
    # Pairs that start at an odd place of the flat state are no complex numbers to torch.
    aligned = y.is_contiguous() and y.storage_offset() % 2 == 0
    return torch.view_as_complex(y if aligned else y.clone()).to(dtype)


def conversion_of(y0: object) -> StateConversion:
    """Return the conversion of y0, a tensor or a tuple whose dtypes are promoted to one.

    Raises:
        ValueError: for another structure, or a dtype without arithmetic.
    """
    single = isinstance(y0, Tensor)
    entries = (y0,) if single else y0
    if not isinstance(entries, tuple) or not entries:
        raise ValueError(f"y0 must be a tensor or a tuple of tensors, got {type(y0).__name__}")
    for i, entry in enumerate(entries):
        if not isinstance(entry, Tensor):
            raise ValueError(f"y0[{i}] must be a tensor, got {type(entry).__name__}")
    dtype = reduce(torch.promote_types, [entry.dtype for entry in entries])
    if dtype not in DTYPES:
        raise ValueError(
            f"y0 has dtype {dtype}, must be one of {', '.join(str(known) for known in DTYPES)}; "
            "y0.float() is one"
        )
    real = torch.float32 if dtype in HALVES else dtype.to_real()
    shapes = tuple(tuple(entry.shape) for entry in entries)
    return StateConversion((dtype,) * len(entries), shapes, real, single)
