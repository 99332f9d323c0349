"""A learned f with the start of each trajectory, in units that suit a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from ..ode import Solver, Stats
from .stretches import interpolate, stretches


class Units(nn.Module):
    """From data to what the network sees: u = (x - mean) / sd, s = t / time.

    Populations, fractions and temperatures then are of one size, and so is the solver's atol. In a
    unit of s a state moves by about its deviation, so that f is of size 1, as a network's is.

    Data and units are float64, u and s the default dtype: a swing of 1 about 1e7 is lost in float32
    unless the mean is taken off first.

    Args:
        observed: what all is taken from, whatever trajectory it is of.
    """

    def __init__(self, observed: Series) -> None:
        super().__init__()
        mask, values = observed.mask.double(), observed.values.double()
        count = mask.sum((0, 1))
        mean = (values * mask).sum((0, 1)) / count
        miss = (values - mean) * mask
        sd = (miss.square().sum((0, 1)) / count).sqrt()
        rounding = 8 * torch.finfo(torch.float64).eps * (values * mask).abs().amax((0, 1))
        sd = torch.where(miss.abs().amax((0, 1)) > rounding, sd, torch.ones_like(sd))  # else any
        self.register_buffer("mean", mean)
        self.register_buffer("sd", sd)
        self.register_buffer("time", 1 / speed(self.states(observed)))

    def states(self, series: Series) -> Series:
        """A series with u for x, 0 where nothing was observed, in float64."""
        return series._replace(values=(series.values - self.mean) / self.sd * series.mask)

    def inner(self, series: Series) -> Series:
        """A series in the network's units."""
        states = self.states(series)
        return states._replace(values=inward(states.values), times=self.inner_times(series.times))

    def inner_times(self, times: Tensor) -> Tensor:
        """s of t."""
        return inward(times / self.time)

    def outer(self, u: Tensor) -> Tensor:
        """x of u, (..., D), in float64."""
        return u * self.sd + self.mean


def inward(values: Tensor) -> Tensor:
    """The dtype of networks."""
    return values.to(torch.get_default_dtype())


def speed(series: Series) -> Tensor:
    """r, the root-mean-square of du/dt, (), in float64, where u is observed with noise.

    At observations k apart E (du)^2 = 2 noise^2 + r^2 dt^2, so r^2 is the difference for two k over
    that of dt^2: of neighbours, and of observations a fiftieth of the range apart, or next but one.
    It is at least what would lead a state through its deviation once in the whole range.
    """
    k = max(2, series.times.shape[1] // 50)
    (v1, d1), (vk, dk) = (moved(series, each) for each in (1, k))
    least = series.times.max().double() ** -2
    return torch.maximum((vk - v1) / (dk - d1), least).nan_to_num(nan=least.item()).sqrt()


def moved(series: Series, k: int) -> tuple[Tensor, Tensor]:
    """Mean of (du)^2 and of dt^2 over pairs of observations k apart."""
    both = series.mask[:, k:] & series.mask[:, :-k]
    du = (series.values[:, k:] - series.values[:, :-k]).double().square()
    dt = (series.times[:, k:] - series.times[:, :-k]).double().square()[..., None].expand_as(du)
    return du[both].mean(), dt[both].mean()


class Dynamics(nn.Module):
    """du/ds = f(u), u(0) = start of each trajectory, a parameter.

    A start begins at the first value observed of each state, at the mean (0) where a trajectory
    shows none.

    Args:
        field: f(t, u), a module.
        observed: N trajectories in their own units.
    """

    def __init__(self, field: nn.Module, observed: Series) -> None:
        super().__init__()
        self.field, self.units = field, Units(observed)
        self.start = nn.Parameter(self.first(observed))

    def first(self, observed: Series) -> Tensor:
        """u of the first value observed of each state, 0 where there is none, (N, D)."""
        inner = self.units.inner(observed)
        return interpolate(inner, inner.times.new_zeros(1))[:, 0]

    def stretched(
        self, solver: Solver, series: Series, length: float, end: float
    ) -> tuple[Tensor, Series, Stats]:
        """u in stretches of one length (``stretches``) at the times observed there, what is
        observed there, and the cost. The first stretch of a trajectory begins at its start, the
        others where straight lines between observations lead.
        """
        starts, target = stretches(series, length, end)
        u0 = torch.cat((self.start[:, None], interpolate(series, starts[1:])), dim=1)
        u, stats = solve(solver, self.field, u0.flatten(0, 1), target.times)
        return u, target, stats

    def predict(
        self, solver: Solver, times: Tensor, start: Tensor | None = None
    ) -> tuple[Tensor, Stats]:
        """x at times t, (N, T), of each trajectory: (N, T, D) in float64, and what that cost.

        Args:
            start: u(0), (N, D); what was learned unless given.
        """
        start = self.start if start is None else start
        u, stats = solve(solver, self.field, start, self.units.inner_times(times))
        return self.units.outer(u), stats

    def rate(self, x: Tensor) -> Tensor:
        """dx/dt at x, (B, D) each, in the data's units and in float64."""
        u = inward((x - self.units.mean) / self.units.sd)
        return self.field(u.new_zeros(()), u) * self.units.sd / self.units.time


def solve(solver: Solver, field: nn.Module, start: Tensor, times: Tensor) -> tuple[Tensor, Stats]:
    """The solutions from ``start``, (B, D), at 0, each at times of its own, (B, T): (B, T, D), and
    what that cost.

    All are one solve over the union of their times; outputs inside a step are interpolated, so that
    their number costs no evaluations.
    """
    zero = times.new_zeros(1)
    union, index = torch.unique(torch.cat((zero, times.flatten())), return_inverse=True)
    solution = solver(field, start, union, params=tuple(field.parameters()))
    rows = torch.arange(len(times), device=times.device)[:, None]
    return solution.ys[index[1:].view(times.shape), rows], solution.stats
