"""What ``options`` may hold, method by method."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from ..errors import unknown_name
from . import steppers

SCIPY = "scipy_solver"
ADAPTIVE = ("dopri8", "dopri5", "tsit5", "bosh3", "fehlberg2", "adaptive_heun")
OF_GRIDS = ("step_size", "grid_constructor", "interp", "perturb")
OF_CONTROL = ("first_step", "min_step", "max_step", "safety", "ifactor", "dfactor")
OF_ADAPTIVE = (*OF_CONTROL, "norm", "step_t", "jump_t", "max_num_steps", "dtype")
OF_SCIPY = ("solver", "min_step", "max_step")
IDLE = {SCIPY: ("norm", "grid_points", "eps")}  # torchdiffeq takes these without a word as well
MOST_STEPS = 100_000  # attempts of an adaptive solve, and one for each output, unless given


def names() -> list[str]:
    """All methods, by torchdiffeq's names."""
    return [*ADAPTIVE, *steppers.names(), SCIPY]


def heard_by(method: str) -> tuple[str, ...]:
    """The callbacks a method calls, without their prefix."""
    if method in ADAPTIVE:
        return ("step", "accept_step", "reject_step")
    return () if method == SCIPY else ("step",)


def known_options(method: str) -> tuple[str, ...]:
    """Options of a method.

    Raises:
        ValueError: if there is no such method.
    """
    if method == steppers.EXPLICIT["rk4"]:
        raise ValueError(f"method is {method!r}, which torchdiffeq and this function call rk4")
    if method not in names():
        raise unknown_name("method", method, names())
    if method in ADAPTIVE:
        return OF_ADAPTIVE
    return OF_SCIPY if method == SCIPY else (*OF_GRIDS, *steppers.options_of(method))


def sifted(method: str, options: dict | None) -> dict:
    """The options that ``method`` knows, in a new dict; of others the caller is warned."""
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"options must be a dict or None, got {type(options).__name__}")
    known = known_options(method)
    idle = IDLE.get(method, () if method in ADAPTIVE else ("norm",))
    unknown = [name for name in options or {} if name not in (*known, *idle)]
    if unknown:
        warnings.warn(
            f"{method} ignores options it does not know: {', '.join(map(str, unknown))}; it knows "
            f"{', '.join(known)}",
            stacklevel=4,
        )
    return {name: value for name, value in (options or {}).items() if name in known}


@dataclass(frozen=True)
class Control:
    """The options of step control, checked.

    Attributes:
        first_step: None to estimate it.
        min_step, max_step: bounds of the step.
        factors: of PIControl, those that are given.
        stops, jumps: times where a step ends; past ``jumps`` the field may be another.
        max_num_steps: of the whole solve: max_num_steps for each interval between outputs.
        dtype: of the times that callbacks see.
    """

    first_step: float | None
    min_step: float
    max_step: float
    factors: dict[str, float]
    stops: tuple[float, ...]
    jumps: tuple[float, ...]
    max_num_steps: int
    dtype: torch.dtype


def read_control(options: dict, intervals: int = 1) -> Control:
    """The options of an adaptive method, for a solve of as many intervals between outputs.

    Raises:
        ValueError: for a value out of range; the message names option and value.
    """
    first, least, longest = (
        options.get("first_step"),
        number("min_step", options.get("min_step", 0.0)),
        number("max_step", options.get("max_step", inf)),
    )
    if first is not None:
        first = number("first_step", first)
        if not 0 < first < inf:
            raise ValueError(f"first_step is {first!r}, must be positive and finite")
    if not 0 <= least <= longest or not longest > 0 or least == inf:
        raise ValueError(
            f"min_step is {least!r} and max_step is {longest!r}; must be 0 <= min_step <= "
            "max_step, min_step finite and max_step positive"
        )
    stops, jumps = (times_of(name, options.get(name)) for name in ("step_t", "jump_t"))
    twice = sorted(t for t in set(stops + jumps) if (stops + jumps).count(t) > 1)
    if twice:
        raise ValueError(
            f"step_t and jump_t hold {twice[0]:g} more than once; leave it in one of them (a step "
            "ends at a jump too)"
        )
    cap = number("max_num_steps", options.get("max_num_steps", 1.0))
    if not 1 <= cap < inf:
        raise ValueError(
            f"max_num_steps is {options['max_num_steps']!r}, must be at least 1 and finite"
        )
    most = int(cap) * intervals if "max_num_steps" in options else MOST_STEPS + intervals
    dtype = options.get("dtype", torch.float64)
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype is {dtype!r}, must be a floating dtype such as torch.float64")
    return Control(first, least, longest, read_factors(options), stops + jumps, jumps, most, dtype)


def read_factors(options: dict) -> dict[str, float]:
    """safety, ifactor and dfactor, by the names that PIControl has for them."""
    bounds = {
        "safety": ("safety", 0.0, 1.0),
        "ifactor": ("max_factor", 1.0, inf),
        "dfactor": ("min_factor", 0.0, 1.0),
    }
    found = {}
    for option, (field, low, high) in bounds.items():
        if option in options:
            value = number(option, options[option])
            if not (low < value <= high or option == "ifactor" and value == low):
                raise ValueError(f"{option} is {value!r}, must lie between {low:g} and {high:g}")
            found[field] = value
    return found


def number(name: str, value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {value!r}, must be a number") from None


def times_of(name: str, value: Tensor | Sequence[float] | None) -> tuple[float, ...]:
    """step_t or jump_t as floats."""
    if value is None:
        return ()
    times = value.detach().tolist() if isinstance(value, Tensor) else value
    if isinstance(times, float):
        times = [times]
    try:
        found = tuple(float(t) for t in times)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, must be a tensor of times, shape (N,)") from None
    if not all(map(isfinite, found)):
        raise ValueError(f"{name} has times that are not finite")
    return found
