"""A learned f with the initial state of each trajectory, in normalised units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from ..ode import Solver, Stats
from .segments import interpolate, segments


class Normalisation(nn.Module):
    """Normalised units of a network: u = (x - mean) / sd, s = t / time.

    Populations, fractions and temperatures then have the same scale, which the solver's atol needs.
    In one unit of s a state changes by about its standard deviation, so that f is of order 1.

    Data, mean and sd are float64, u and s the default dtype: a variation of 1 about 1e7 is lost in
    float32 unless the mean is subtracted first.

    Args:
        observed: Observations of all trajectories, from which mean, sd and time are computed.

    Example:
        >>> from node_runner.data.series import full
        >>> times, values = torch.arange(5.0).expand(1, 5), torch.arange(5.0).view(1, 5, 1)
        >>> Normalisation(full(times, values)).outer(torch.zeros(1)).tolist()
        [2.0]
    """

    def __init__(self, observed: Series) -> None:
        super().__init__()
        mask, values = observed.mask.double(), observed.values.double()
        count = mask.sum((0, 1))
        mean = (values * mask).sum((0, 1)) / count
        miss = (values - mean) * mask
        sd = (miss.square().sum((0, 1)) / count).sqrt()
        rounding = 8 * torch.finfo(torch.float64).eps * (values * mask).abs().amax((0, 1))
        sd = torch.where(miss.abs().amax((0, 1)) > rounding, sd, torch.ones_like(sd))
        self.register_buffer("mean", mean)
        self.register_buffer("sd", sd)
        self.register_buffer("time", 1 / _speed(self.states(observed)))

    def states(self, series: Series) -> Series:
        """Return the series with u for x, 0 where not observed, in float64."""
        return series._replace(values=(series.values - self.mean) / self.sd * series.mask)

    def inner(self, series: Series) -> Series:
        """Return the series in normalised units."""
        states = self.states(series)
        return states._replace(
            values=_to_default_dtype(states.values), times=self.inner_times(series.times)
        )

    def inner_times(self, times: Tensor) -> Tensor:
        """Return s for times t."""
        return _to_default_dtype(times / self.time)

    def outer(self, u: Tensor) -> Tensor:
        """Return x for u, (..., D), in float64."""
        return u * self.sd + self.mean


def _to_default_dtype(values: Tensor) -> Tensor:
    """Cast to the dtype of networks."""
    return values.to(torch.get_default_dtype())


def _speed(series: Series) -> Tensor:
    """Estimate r, the root-mean-square of du/dt, (), in float64, from noisy observations of u.

    For observations k apart E (du)^2 = 2 noise^2 + r^2 dt^2, so r^2 is a difference quotient of two
    k: 1, and a fiftieth of the observations, at least 2. The result is at least the reciprocal of
    the time range: one standard deviation in the whole range.
    """
    k = max(2, series.times.shape[1] // 50)
    (v1, d1), (vk, dk) = (_squared_changes(series, lag) for lag in (1, k))
    least = series.times.max().double() ** -2
    return torch.maximum((vk - v1) / (dk - d1), least).nan_to_num(nan=least.item()).sqrt()


def _squared_changes(series: Series, k: int) -> tuple[Tensor, Tensor]:
    """Return the means of (du)^2 and dt^2 over pairs of observations k apart."""
    both = series.mask[:, k:] & series.mask[:, :-k]
    du = (series.values[:, k:] - series.values[:, :-k]).double().square()
    dt = (series.times[:, k:] - series.times[:, :-k]).double().square()[..., None].expand_as(du)
    return du[both].mean(), dt[both].mean()


class Dynamics(nn.Module):
    """du/ds = f(u), u(0) = start of each trajectory, a parameter.

    The initial value of a start is the first observed value of each state, or the mean (0) if a
    trajectory has none.

    Args:
        field: f(t, u), a module.
        observed: Observations of N trajectories in data units.

    Example:
        >>> from node_runner.data.series import full
        >>> from node_runner.fields import MLP
        >>> times, values = torch.arange(5.0).expand(3, 5), torch.randn(3, 5, 2)
        >>> dynamics = Dynamics(MLP(2, (8,)), full(times, values))
        >>> dynamics.predict(Solver("dopri5"), times)[0].shape
        torch.Size([3, 5, 2])
    """

    def __init__(self, field: nn.Module, observed: Series) -> None:
        super().__init__()
        self.field, self.units = field, Normalisation(observed)
        self.start = nn.Parameter(self.first(observed))

    def first(self, observed: Series) -> Tensor:
        """Return u of the first observed value of each state, 0 if there is none, (N, D)."""
        inner = self.units.inner(observed)
        return interpolate(inner, inner.times.new_zeros(1))[:, 0]

    def predict_segments(
        self, solver: Solver, series: Series, length: float, end: float
    ) -> tuple[Tensor, Series, Stats]:
        """Return u in segments of one length (``segments``) at their observed times, the
        observations there, and the cost. The first segment of a trajectory begins at its start, the
        others at values interpolated between observations.
        """
        starts, target = segments(series, length, end)
        u0 = torch.cat((self.start[:, None], interpolate(series, starts[1:])), dim=1)
        u, stats = _solve(solver, self.field, u0.flatten(0, 1), target.times)
        return u, target, stats

    def predict(
        self, solver: Solver, times: Tensor, start: Tensor | None = None
    ) -> tuple[Tensor, Stats]:
        """Return x at times t, (N, T), of each trajectory, (N, T, D) in float64, and the cost.

        Args:
            solver: ODE solver.
            times: Times in data units, (N, T).
            start: u(0), (N, D) (default: the learned one).
        """
        start = self.start if start is None else start
        u, stats = _solve(solver, self.field, start, self.units.inner_times(times))
        return self.units.outer(u), stats

    def rate(self, x: Tensor) -> Tensor:
        """Return dx/dt at x, (B, D) each, in data units and float64."""
        u = _to_default_dtype((x - self.units.mean) / self.units.sd)
        return self.field(u.new_zeros(()), u) * self.units.sd / self.units.time


def _solve(solver: Solver, field: nn.Module, start: Tensor, times: Tensor) -> tuple[Tensor, Stats]:
    """Return the solutions from ``start``, (B, D), at time 0, each at its times (B, T): (B, T, D),
    and the cost.

    All are one solve over the union of their times; outputs inside a step are interpolated and need
    no evaluations of f.
    """
    zero = times.new_zeros(1)
    union, index = torch.unique(torch.cat((zero, times.flatten())), return_inverse=True)
    solution = solver(field, start, union, params=tuple(field.parameters()))
    rows = torch.arange(len(times), device=times.device)[:, None]
    return solution.ys[index[1:].view(times.shape), rows], solution.stats
