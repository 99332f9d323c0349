"""ODE-RNN: the state follows an ODE between observations."""

from __future__ import annotations

from torch import Tensor, nn

from ...data.series import Series
from ...ode import Solver
from .protocol import Reading, SolveStats, features, scan


class ODECell(nn.Module):
    """dh/dt = f(h) between observations, h <- GRU([x, m], h) at each (Rubanova et al. 2019,
    algorithm 1).

    Gaps of different lengths are one solve over the longest gap, with the time of the others
    rescaled, so that no series takes longer steps than that with the longest gap.

    Args:
        dim: D, number of features.
        field: f(t, h), evaluated at t = 0.
        solver: ODE solver in gaps, which ``with_solver`` keeps. The released code takes Euler steps
            of a fiftieth of the time range.

    Example:
        >>> import torch
        >>> from node_runner.fields import MLP
        >>> cell = ODECell(2, MLP(5, (8,)), Solver("euler", step_size=0.1))
        >>> cell.evolve(torch.zeros(3, 5), torch.rand(3))[0].shape
        torch.Size([3, 5])
    """

    fixed_solver = True

    def __init__(self, dim: int, field: nn.Module, solver: Solver) -> None:
        super().__init__()
        (self.hidden_size,) = field.shape
        self.net = nn.GRUCell(2 * dim, self.hidden_size)
        self.field, self.solver = field, solver

    def read(self, series: Series) -> Reading:
        gaps = series.gaps
        longest = gaps.amax(0).tolist()  # one device synchronisation per reading
        inputs = features(series.values, series.mask)
        return scan(
            inputs,
            self.hidden_size,
            lambda h, k: self._evolve(h, gaps[:, k], longest[k]),
            self.net,
        )

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, SolveStats]:
        return self._evolve(h, gap, float(gap.max()))

    def _evolve(self, h: Tensor, gap: Tensor, longest: float) -> tuple[Tensor, SolveStats]:
        """Return h after the gaps, with ``longest`` = max(gap) on the host."""
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
