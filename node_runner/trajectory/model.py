"""A learned f with the start of each trajectory, in units that suit a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from ..ode import Solver, Stats


class Units(nn.Module):
    """From data to what the network sees: u = (x - mean) / sd, s = t / time.

    Populations, fractions and temperatures then are of one size, and so is the solver's atol. The
    observed range of time becomes [0, span]: with a span of about 10 a network as it is made, whose
    f is about 1/3, moves a state through the data and not far beyond.

    Args:
        observed: what mean and deviation are taken over, whatever trajectory it is of.
        span: as above.
    """

    def __init__(self, observed: Series, span: float) -> None:
        super().__init__()
        mask, values = observed.mask.double(), observed.values.double()
        count = mask.sum((0, 1))
        mean = (values * mask).sum((0, 1)) / count
        sd = (((values - mean) * mask).square().sum((0, 1)) / count).sqrt()
        sd = torch.where(sd > 1e-6 * mean.abs(), sd, torch.ones_like(sd))  # of a constant: any
        self.register_buffer("mean", mean.float())
        self.register_buffer("sd", sd.float())
        self.register_buffer("time", (observed.times.max().double() / span).float())

    def inner(self, series: Series) -> Series:
        """A series in the network's units, 0 where nothing was observed."""
        values = (series.values - self.mean) / self.sd * series.mask
        return Series(series.times / self.time, values, series.mask)

    def outer(self, u: Tensor) -> Tensor:
        """x of u, (..., D)."""
        return u * self.sd + self.mean


class Dynamics(nn.Module):
    """du/ds = f(u), u(0) = start of each trajectory, a parameter.

    A start begins at the first value observed of each state, at the mean (0) where a trajectory
    shows none.

    Args:
        field: f(t, u), a module.
        observed: N trajectories in their own units.
        span: of ``Units``.
    """

    def __init__(self, field: nn.Module, observed: Series, span: float) -> None:
        super().__init__()
        self.field, self.units = field, Units(observed, span)
        inner = self.units.inner(observed)
        first = inner.mask.int().argmax(dim=1, keepdim=True)  # of a state never shown: 0, a 0
        self.start = nn.Parameter(inner.values.gather(1, first)[:, 0].clone())

    def solve(self, solver: Solver, times: Tensor) -> tuple[Tensor, Stats]:
        """u at times s, (N, T), of each trajectory: (N, T, D), and what that cost.

        All are one solve over the union of their times; outputs inside a step are interpolated, so
        that their number costs no evaluations.
        """
        zero = times.new_zeros(1)
        union, index = torch.unique(torch.cat((zero, times.flatten())), return_inverse=True)
        solution = solver(self.field, self.start, union, params=tuple(self.field.parameters()))
        index = index[1:].view(times.shape)
        return solution.ys[
            index, torch.arange(len(times), device=times.device)[:, None]
        ], solution.stats

    def predict(self, solver: Solver, times: Tensor) -> tuple[Tensor, Stats]:
        """x at times t, (N, T): as ``solve``, in the data's units."""
        u, stats = self.solve(solver, times / self.units.time)
        return self.units.outer(u), stats

    def rate(self, x: Tensor) -> Tensor:
        """dx/dt at x, (B, D) each, in the data's units."""
        u = (x - self.units.mean) / self.units.sd
        return self.field(x.new_zeros(()), u) * self.units.sd / self.units.time
