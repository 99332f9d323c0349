"""What one call of odeint asks for, checked and in the terms of the core."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from ..state import Layout, State
from .callbacks import callbacks_of
from .form import Form, form_of
from .means import means_of
from .norm import tolerance
from .options import heard_by, known_options, sifted
from .setting import Means, Setting

DEFAULT = "dopri5"


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        func: as given.
        form: between states as func sees them and those below.
        f, y0: func and y0 inside.
        t: on y0's device.
        setting: method, options, tolerances.
        means: how it is solved.
    """

    func: Callable
    form: Form
    f: Callable
    y0: State
    t: Tensor
    setting: Setting
    means: Means


def read_call(
    func: Callable,
    y0: object,
    t: object,
    rtol: object,
    atol: object,
    method: str | None,
    options: dict | None,
) -> Call:
    """Check the arguments of odeint.

    Raises:
        ValueError: for one that does not fit; the message names it, its value and what fits.
    """
    form, method = form_of(y0), DEFAULT if method is None else method
    known_options(method)
    state = form.inner(y0)
    layout = Layout(state)
    check_time(t)
    if t.device != layout.device:
        warnings.warn(
            f"t is on {t.device} and y0 on {layout.device}: t is moved there", stacklevel=3
        )
        t = t.to(layout.device)
    setting = Setting(
        method,
        sifted(method, options),
        tolerance("rtol", rtol, form, layout),
        tolerance("atol", atol, form, layout),
        form,
        layout,
        callbacks_of(func, "", method, heard_by(method)),
        max(1, len(t) - 1),
    )
    return Call(func, form, form.field(func), state, t, setting, means_of(setting))


def check_time(t: object) -> None:
    """Refuse times that are no strictly monotone floating tensor of one dimension."""
    if not isinstance(t, Tensor):
        raise ValueError(f"t must be a tensor of times, shape (T,), got {type(t).__name__}")
    if not t.is_floating_point():
        raise ValueError(f"t has dtype {t.dtype}, must be floating, such as torch.float64")
    if t.dim() != 1 or not len(t):
        raise ValueError(f"t has shape {tuple(t.shape)}, must be (T,) with T at least 1")
    times = t.tolist()
    for i, (a, b) in enumerate(zip(times, times[1:], strict=False)):
        if a == b or (b > a) != (times[1] > times[0]):
            raise ValueError(
                "t must be strictly increasing or strictly decreasing; "
                f"t[{i}]={a:g}, t[{i + 1}]={b:g}"
            )
    if not all(map(isfinite, times)):
        raise ValueError(f"t has times that are not finite: {times}")
