"""A state as the caller writes it, and as what is solved: real tensors of one dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ..state import State

HALVES = (torch.float16, torch.bfloat16)
REALS = (*HALVES, torch.float32, torch.float64)
DTYPES = (*REALS, torch.complex64, torch.complex128)


@dataclass(frozen=True)
class Form:
    """Between a state outside, as func, norms and callbacks see it, and inside, as it is solved.

    A complex entry of shape (...) is a real one of shape (..., 2) inside, float16 and bfloat16 are
    float32 there: func still sees its own dtype, and only the sums of a step are more exact.

    Attributes:
        dtypes: of the entries, outside.
        real: of all of them inside, float32 or float64.
        single: the state is a tensor, not a tuple of them.
    """

    dtypes: tuple[torch.dtype, ...]
    real: torch.dtype
    single: bool

    @property
    def same(self) -> bool:
        """Nothing changes on the way in or out."""
        return all(dtype == self.real for dtype in self.dtypes)

    @property
    def time(self) -> torch.dtype:
        """Of the t that func sees: the real dtype of the first entry."""
        return self.dtypes[0].to_real()

    def inner(self, state: State) -> State:
        """The state inside, with its graph."""
        entries = (state,) if self.single else state
        found = [inside(y, dt, self.real) for y, dt in zip(entries, self.dtypes, strict=True)]
        return found[0] if self.single else tuple(found)

    def outer(self, state: State) -> State:
        """The state outside; leading dimensions, such as that of times, are kept."""
        if self.same:
            return state
        entries = (state,) if self.single else state
        found = [outside(y, dtype) for y, dtype in zip(entries, self.dtypes, strict=True)]
        return found[0] if self.single else tuple(found)

    def field(self, func: Callable) -> Callable:
        """func on states inside. A tensor that needs no change is handed to func itself."""
        if self.single and self.same:
            return func

        def f(t: Tensor, state: State) -> object:
            f.converted_time = t.to(self.time)
            return self.rates(func(f.converted_time, self.outer(state)), state)

        return f

    def rates(self, returned: object, state: State) -> object:
        """What func returned, inside. An entry of another shape with as many numbers is reshaped;
        what does not fit at all is left for the core to refuse.
        """
        like = (state,) if self.single else state
        found = [returned] if self.single else returned
        if not isinstance(found, (tuple, list)) or len(found) != len(like):
            return returned
        fitted = []
        for rate, entry, dtype in zip(found, like, self.dtypes, strict=True):
            if isinstance(rate, Tensor):
                rate = inside(rate, dtype, self.real)
                if not self.single and rate.shape != entry.shape:
                    rate = rate.reshape(entry.shape) if rate.numel() == entry.numel() else rate
            fitted.append(rate)
        return fitted[0] if self.single else tuple(fitted)


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


def form_of(y0: object) -> Form:
    """The form of y0, a tensor or a tuple whose dtypes are promoted to one.

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
    return Form((dtype,) * len(entries), real, single)
