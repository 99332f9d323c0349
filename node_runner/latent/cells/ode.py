"""ODE-RNN: the state follows an ODE between observations."""

from __future__ import annotations

from torch import Tensor, nn

from ...data.series import Series
from ...ode import Solver
from .protocol import Reading, Solves, features, walk


class ODECell(nn.Module):
    """dh/dt = f(h) between observations, h <- GRU([x, m], h) at each (Rubanova et al. 2019,
    algorithm 1).

    The gaps of a batch differ. All are solved at once over the longest one, the others with their
    time slowed down, so that the solver's steps are at most as long for any series as they are for
    the longest gap.

    Args:
        dim: D.
        field: f(t, h), given t = 0.
        solver: of the gaps. The released code takes Euler steps of a fiftieth of the time range.
    """

    def __init__(self, dim: int, field: nn.Module, solver: Solver) -> None:
        super().__init__()
        (self.size,) = field.shape
        self.net = nn.GRUCell(2 * dim, self.size)
        self.field, self.solver = field, solver

    def read(self, series: Series) -> Reading:
        gaps = series.gaps
        longest = gaps.amax(0).tolist()  # synchronises, once a reading
        inputs = features(series.values, series.mask)
        return walk(
            inputs,
            self.size,
            lambda h, k: self.follow(h, gaps[:, k], longest[k]),
            self.net,
        )

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, Solves]:
        return self.follow(h, gap, float(gap.max()))

    def follow(self, h: Tensor, gap: Tensor, longest: float) -> tuple[Tensor, Solves]:
        """h after the gaps, of which the longest is known."""
        if longest == 0:
            return h, ()
        speed = (gap / longest)[..., None]
        solution = self.solver(
            lambda t, h: speed * self.field(t.new_zeros(()), h),
            h,
            [0.0, longest],
            params=tuple(self.field.parameters()),
        )
        return solution.final, (solution.stats,)

    def update(self, h: Tensor, x: Tensor, gap: Tensor) -> Tensor:
        return self.net(features(x), h)
