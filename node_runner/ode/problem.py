"""An initial value problem as the solver core sees it: a flat state, times as Python floats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite

from torch import Tensor, nn

from .graph_memory import GraphMemory
from .rhs import Rhs
from .state import Layout, Quadrature, RightSide, State, check_weight
from .stats import Counts, Stats
from .stepper import Rates
from .transforms import values_of


@dataclass(frozen=True)
class Problem:
    """y' = f(t, y), y(ts[0]) = y0, to be known at ts.

    Attributes:
        f: the user's function on the state as the user wrote it.
        layout: of the state and its quadratures in the flat vector.
        y0: shape (width,).
        ts: strictly monotone, as floats.
        weights: factors in error control, one an entry.
        params: tensors besides y0 that a gradient is wanted for.
        given: the entries of y0 as the caller gave them.
        stats: receives the cost.
        wrap_rhs: wrapped around f together with ``params``, to look at what it does.
        memory: bounds the graph of the solve, if it has one.
        rhs: f as it is evaluated; what is learnt about f during the solve is shared by all
            problems made from this one.
    """

    f: Callable
    layout: Layout
    y0: Tensor
    ts: list[float]
    weights: list[float]
    params: tuple[Tensor, ...] = ()
    given: tuple[Tensor, ...] = ()
    stats: Stats = field(default_factory=Stats)
    wrap_rhs: Callable[[RightSide, Sequence[Tensor]], Rates] | None = None
    memory: GraphMemory | None = None
    rhs: Rhs = field(kw_only=True)

    def right_side(self, counts: Counts) -> Rates:
        """f on the flat vector, its evaluations added to ``counts``."""
        f = RightSide(self.rhs, self.layout, counts)
        return f if self.wrap_rhs is None else self.wrap_rhs(f, self.params)


def make_problem(
    f: Callable,
    y0: State,
    times: list[float],
    params: Sequence[Tensor] | None,
    quadratures: Sequence[Quadrature] = (),
    weights: Sequence[float] | None = None,
) -> Problem:
    """The problem that a user's arguments mean.

    Raises:
        ValueError: for a state that cannot be solved for, or weights that do not fit it.
    """
    layout = Layout(y0, quadratures)
    if weights is None:
        weights = [1.0] * layout.num_entries
    else:
        weights = [check_weight(f"weights[{i}]", w) for i, w in enumerate(weights)]
    if len(weights) != layout.num_entries:
        raise ValueError(
            f"weights has {len(weights)} values for {layout.num_entries} entries of the state"
        )
    if params is None:
        params = tuple(f.parameters()) if isinstance(f, nn.Module) else ()
    given = (y0,) if layout.is_tensor else tuple(y0)
    start = layout.start([*given, *(q.start for q in quadratures)])
    weights += [float(q.weight) for q in quadratures]
    rhs, params = Rhs(f, layout.device), check_params("params", params)
    return Problem(f, layout, start, times, weights, params, given, rhs=rhs)


def check_params(name: str, params: Tensor | Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The parameters, each once; one tensor stands for itself.

    Raises:
        ValueError: for anything but tensors.
    """
    found = (params,) if isinstance(params, Tensor) else tuple(params)
    for i, param in enumerate(found):
        if not isinstance(param, Tensor):
            raise ValueError(
                f"{name}[{i}] is a {type(param).__name__}, must be a tensor: give tensors, for "
                "example net.parameters()"
            )
    return tuple({id(param): param for param in found}.values())


def check_times(ts: Tensor | Sequence[float], name: str = "ts") -> list[float]:
    """The output times as floats; one read of the device for a tensor on an accelerator.

    Raises:
        ValueError: for times that are not one-dimensional, finite and strictly monotone.
    """
    if isinstance(ts, Tensor) and ts.dim() != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {tuple(ts.shape)}")
    times = [float(t) for t in (values_of(ts) if isinstance(ts, Tensor) else ts)]
    if not times or not all(map(isfinite, times)):
        raise ValueError(f"{name} must be one or more finite times, got {times}")
    for i, (a, b) in enumerate(zip(times, times[1:], strict=False)):
        if a == b or (b > a) != (times[1] > times[0]):
            raise ValueError(
                f"{name} must be strictly increasing or strictly decreasing; {name}[{i}]={a:g}, "
                f"{name}[{i + 1}]={b:g}"
            )
    return times
