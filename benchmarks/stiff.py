"""Stiff problems: evaluations, steps and error, beside SciPy's solvers of the same kind.

Robertson's reaction (Hairer, Wanner, Solving ODEs II, IV.1, eq. 1.4) for a batch of 64 rate
constants to t = 1e5, van der Pol's oscillator with mu = 1000 over two of its jumps, and HIRES (the
same, IV.10, eq. 10.3), in float64 at rtol 1e-6. The error is the largest of the end over atol +
rtol |y|, against SciPy's Radau at 1e-10. SciPy solves one sample; its evaluations count those of
its difference Jacobians, and ours those of Newton's iteration; Jacobians of both are by products
with them. Explicit methods are given the same cap of 10,000 steps.

    python -m benchmarks.stiff
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import begin, environment, need, parser, report, table
from benchmarks.problems import Problem
from node_runner.ode import Solver, SolverError

RTOL = 1e-6
OURS = ("kvaerno5", "radau_iia5", "bdf", "dopri5")
PEERS = ("BDF", "Radau")
HEADER = ["problem", "solver", "accepted", "rejected", "evaluations", "error / tolerance", "s"]


@dataclass(frozen=True)
class Stiff(Problem):
    """Its rows do not see each other; SciPy takes the first."""

    atol: float


def robertson(batch: int) -> Stiff:
    fast = torch.linspace(1.0, 2.0, batch, dtype=torch.float64) * 3e7

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b, c = y.unbind(1)
        slow, quick = 0.04 * a, 1e4 * b * c
        done = fast[: len(y)] * b * b
        return torch.stack((quick - slow, slow - quick - done, done), dim=1)

    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(batch, 3).clone()
    return Stiff(f"Robertson, batch {batch}", f, start, 1e5, 1e-10)


def relaxation() -> Stiff:
    def f(t: Tensor, y: Tensor) -> Tensor:
        x, v = y.unbind(1)
        return torch.stack((v, 1000 * (1 - x * x) * v - x), dim=1)

    return Stiff("van der Pol, mu = 1000", f, torch.tensor([[2.0, 0.0]]).double(), 2000.0, 1e-6)


def hires() -> Stiff:
    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b, c, d, e, g, h, i = y.unbind(1)
        bound = 280 * g * i
        return torch.stack(
            (
                -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
                1.71 * a - 8.75 * b,
                -10.03 * c + 0.43 * d + 0.035 * e,
                8.32 * b + 1.71 * c - 1.12 * d,
                -1.745 * e + 0.43 * g + 0.43 * h,
                -bound + 0.69 * d + 1.71 * e - 0.43 * g + 0.69 * h,
                bound - 1.81 * h,
                -bound + 1.81 * h,
            ),
            dim=1,
        )

    start = torch.zeros(1, 8, dtype=torch.float64)
    start[0, 0], start[0, 7] = 1.0, 0.0057
    return Stiff("HIRES", f, start, 321.8122, 1e-9)


def by_scipy(problem: Stiff, method: str, rtol: float, atol: float) -> tuple[Tensor, int, int]:
    """The first row's end, accepted steps and evaluations."""

    def f(t: float, y: np.ndarray) -> np.ndarray:
        row = torch.from_numpy(y)[None]
        return problem.f(torch.tensor(t, dtype=torch.float64), row)[0].numpy()

    integrate = need("scipy.integrate", extra="test")
    span = (0.0, problem.end)
    found = integrate.solve_ivp(f, span, problem.y0[0].numpy(), method, rtol=rtol, atol=atol)
    return torch.from_numpy(found.y[:, -1].copy()), len(found.t) - 1, found.nfev


def rows(problem: Stiff) -> list[list[str]]:
    exact = by_scipy(problem, "Radau", 1e-10, 1e-4 * problem.atol)[0]

    def off(end: Tensor) -> str:
        return f"{((end - exact).abs() / (problem.atol + RTOL * exact.abs())).max().item():.1f}"

    made = []
    for name in OURS:
        start = perf_counter()
        try:
            solved = Solver(name, RTOL, problem.atol)(problem.f, problem.y0, [0.0, problem.end])
            counts, error = solved.stats.forward, off(solved.final[0])
            cells = [str(n) for n in (counts.accepted, counts.rejected, counts.nfe)]
        except SolverError as failure:
            cells, error = [*map(str, failure.steps), "-"], f"stops at t={failure.t:.3g}"
        made.append([problem.name, name, *cells, error, f"{perf_counter() - start:.2f}"])
    for method in PEERS:
        start = perf_counter()
        end, steps, nfe = by_scipy(problem, method, RTOL, problem.atol)
        seconds = f"{perf_counter() - start:.2f}"
        made.append([problem.name, f"SciPy {method}", str(steps), "-", str(nfe), off(end), seconds])
    return made


@torch.no_grad()
def main() -> None:
    args = begin(parser(__doc__))
    problems = [hires()] if args.smoke else [robertson(64), relaxation(), hires()]
    about = environment("stiff", args, ["torch", "scipy"])
    report("stiff", args, [about, table(HEADER, [row for p in problems for row in rows(p)])])


if __name__ == "__main__":
    main()
