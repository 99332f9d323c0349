"""A neural ODE that learns Robertson's reaction, trained through kvaerno5.

The setting follows Kim, Ji, Deng, Ma, Rackauckas 2021 (Stiff neural ordinary differential
equations, arXiv:2103.15341): the reaction (benchmarks/stiff.py) at 50 times from 1e-5 to 1e5,
evenly spaced in log t; y' = net(y / s) s / T with s the largest value of each species and T = 1e5;
the mean absolute error over s as loss. Otherwise than theirs it starts from six mixtures, since one
trajectory says nothing of how fast others are drawn to it, and a net fitted to one is not stiff at
late times. Rates differ by 8 orders of magnitude, which their net of 7 narrow layers is given
50,000 steps to learn. Here a sinh behind two hidden layers of 16, tanh, spans them, and the net is
first fitted to the reaction's rates at the data, without a solver (collocation). Then it is trained
through kvaerno5 at rtol 1e-5 and atol 1e-8 with Direct: Adam, learning rate 1e-3, gradients clipped
to 1, float64.

The first table follows the training: what a solve costs, the stiffness of the learnt field (the
largest modulus of the eigenvalues of df/dy at the outputs, times T), and what dopri5 makes of the
same solve within its 10,000 steps. The second holds gradients in the parameters at rtol 1e-9 and
1e-11 against central differences at 1e-11 along random directions: the relative error of the vector
of directional derivatives.

    python -m benchmarks.stiff_training
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks.harness import begin, environment, parser, report, table
from benchmarks.stiff import robertson
from node_runner.ode import Adjoint, Direct, Replay, Solution, Solver, SolverError
from node_runner.ode.gradients import Gradient

END, POINTS, WIDTH = 1e5, 50, 16
RTOL, ATOL, RATE, CLIP = 1e-5, 1e-8, 1e-3, 1.0
TIGHT, DIRECTIONS, H = (1e-9, 1e-11), 2, 1e-5
MIXTURES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.05)  # y_1 at the start; the others are 0 and 1 - y_1
COLLOCATION = 3000  # steps
TIMES = [0.0, *torch.logspace(-5, 5, POINTS, dtype=torch.float64).tolist()]
STRATEGIES = {"Direct": Direct(), "Replay": Replay(), "Adjoint": Adjoint()}
PROGRESS = ["step", "loss", "accepted", "rejected", "evaluations", "stiffness", "dopri5 steps"]
PROGRESS += ["dopri5 evaluations"]


class Net(nn.Module):
    """y' = sinh(net(y / s)) s / T on (B, 3)."""

    def __init__(self, size: Tensor) -> None:
        super().__init__()
        layers = (nn.Linear(3, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.net = nn.Sequential(*layers, nn.Linear(WIDTH, 3)).double()
        self.size = size

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.net(y / self.size).sinh() * self.size / END


class Fit:
    """The data, and the loss of a field on them."""

    def __init__(self) -> None:
        problem = robertson(1)
        first = torch.tensor(MIXTURES, dtype=torch.float64)
        self.start = torch.stack((first, 0 * first, 1 - first), 1)
        solver = Solver("kvaerno5", 1e-9, 1e-14)
        with torch.no_grad():
            self.data = solver(problem.f, self.start, TIMES).ys
        self.points = self.data.flatten(0, 1)
        self.rates = problem.f(torch.zeros(()), self.points)
        self.size = self.points.amax(0)

    def solve(
        self, field: nn.Module, rtol: float = RTOL, gradient: Gradient | None = None
    ) -> Solution:
        return Solver("kvaerno5", rtol, rtol * ATOL / RTOL, gradient=gradient)(
            field, self.start, TIMES
        )

    def collocate(self, field: Net, steps: int) -> None:
        """Fit the net to asinh of the scaled rates at the data."""
        wanted = (self.rates * END / self.size).asinh()
        optimizer = torch.optim.Adam(field.parameters(), 1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            (field.net(self.points / self.size) - wanted).square().mean().backward()
            optimizer.step()
            schedule.step()

    def loss(self, solution: Solution) -> Tensor:
        return ((solution.ys - self.data) / self.size).abs().mean()

    def gradient(self, field: nn.Module, strategy: Gradient, rtol: float) -> Tensor:
        """In all parameters, flat."""
        loss = self.loss(self.solve(field, rtol, strategy))
        found = torch.autograd.grad(loss, tuple(field.parameters()))
        return torch.cat([g.flatten() for g in found])

    @torch.no_grad()
    def slope(self, field: nn.Module, direction: Tensor) -> float:
        """The derivative of the loss along a direction, by a central difference."""
        ends = []
        values = nn.utils.parameters_to_vector(field.parameters())
        for sign in (1, -1):
            moved = copy.deepcopy(field)
            nn.utils.vector_to_parameters(values + sign * H * direction, moved.parameters())
            ends.append(self.loss(self.solve(moved, TIGHT[-1])).item())
        return (ends[0] - ends[1]) / (2 * H)


def train(fit: Fit, field: nn.Module, steps: int) -> Iterator[tuple[int, float, Solution]]:
    """Yield the loss and the solve before each step, and once after the last."""
    optimizer = torch.optim.Adam(field.parameters(), RATE)
    for step in range(steps + 1):
        solution = fit.solve(field)
        loss = fit.loss(solution)
        yield step, loss.item(), solution
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(field.parameters(), CLIP)
        optimizer.step()


def stiffness(field: nn.Module, solution: Solution) -> float:
    """The largest |eigenvalue| of df/dy at the outputs, times T."""
    points = solution.ys.detach().flatten(0, 1)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda y: field(None, y[None])[0]))(points)
    return torch.linalg.eigvals(jacobians.detach()).abs().max().item() * END


@torch.no_grad()
def by_dopri5(fit: Fit, field: nn.Module) -> tuple[str, str]:
    """Attempts and evaluations, or where it stops."""
    try:
        counts = Solver("dopri5", RTOL, ATOL)(field, fit.start, TIMES).stats.forward
    except SolverError as failure:
        return str(sum(failure.steps)), f"stops at t={failure.t:.3g}"
    return str(counts.accepted + counts.rejected), str(counts.nfe)


def progress(fit: Fit, field: nn.Module, step: int, loss: float, solution: Solution) -> list[str]:
    counts = solution.stats.forward
    costs = [str(n) for n in (counts.accepted, counts.rejected, counts.nfe)]
    lambda_t = f"{stiffness(field, solution):.1e}"
    return [str(step), f"{loss:.4f}", *costs, lambda_t, *by_dopri5(fit, field)]


def check(fit: Fit, field: nn.Module, label: str) -> list[list[str]]:
    """The relative errors of the strategies' gradients, a row for each tolerance."""
    count = sum(p.numel() for p in field.parameters())
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(DIRECTIONS, count, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=1, keepdim=True)
    exact = torch.tensor([fit.slope(field, d) for d in directions], dtype=torch.float64)

    def error(strategy: Gradient, rtol: float) -> str:
        try:
            off = directions @ fit.gradient(field, strategy, rtol) - exact
        except SolverError as failure:
            return f"stops at t={failure.t:.3g}"
        return f"{(off.norm() / exact.norm()).item():.1e}"

    slopes = f"{exact.norm().item():.2e}"
    each = STRATEGIES.values()
    return [[label, f"{rtol:.0e}", slopes, *(error(s, rtol) for s in each)] for rtol in TIGHT]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--training", type=int, default=80, help="steps of training, default 80")
    args = begin(made)
    torch.manual_seed(1)
    fit = Fit()
    field = Net(fit.size)
    checks, rows = check(fit, field, "random"), []
    fit.collocate(field, COLLOCATION if not args.smoke else 10)
    shown = {0, *(args.training * k // 8 for k in range(1, 9))}
    for step, loss, solution in train(fit, field, args.training):
        if step in shown:
            rows.append(progress(fit, field, step, loss, solution))
        if step in (0, args.training) and not args.smoke:
            checks += check(fit, field, f"after {step} steps")
    header = ["field", "rtol", "directional derivatives", *STRATEGIES]
    about = environment("stiff_training", args, ["torch"])
    report("stiff_training", args, [about, table(PROGRESS, rows), table(header, checks)])


if __name__ == "__main__":
    main()
