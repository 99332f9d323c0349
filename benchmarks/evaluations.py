"""Evaluations that an accuracy costs, apart from any clock.

The five problems of benchmarks/problems.py in float64 with dopri5 at rtol = atol = 1e-3, 1e-5 and
1e-7: torchdiffeq.odeint and node_runner's Solver. One wrapper counts the calls of f for both. The
endpoint error is the RMS against SciPy's DOP853 at 1e-12. For a method of order 5 work grows as
error^(-1/5), so work at equal error is evaluation ratio * error ratio^(1/5); ratios are ours over
torchdiffeq's, smaller is better.

    python -m benchmarks.evaluations
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import geometric_mean

import torch
from torch import Tensor

from benchmarks.harness import begin, bullets, environment, need, parser, report, table
from benchmarks.problems import PROBLEMS, Problem
from benchmarks.reference import endpoint, rms
from node_runner.ode import Solver

TOLERANCES = (1e-3, 1e-5, 1e-7)
ORDER = 5
HEADER = ["problem", "tol", "NFE peer", "NFE ours", "error peer", "error ours"]
HEADER += ["NFE ratio", "error ratio", "work ratio"]


class Counted:
    """f, and how often it was called."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.f, self.calls = f, 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return self.f(t, y)


@dataclass(frozen=True)
class Cell:
    """One problem at one tolerance, peer's and ours."""

    problem: str
    tol: float
    nfe: tuple[int, int]
    error: tuple[float, float]

    @property
    def nfe_ratio(self) -> float:
        return self.nfe[1] / self.nfe[0]

    @property
    def error_ratio(self) -> float:
        return self.error[1] / self.error[0]

    @property
    def work_ratio(self) -> float:
        return self.nfe_ratio * self.error_ratio ** (1 / ORDER)

    def row(self) -> list[str]:
        ratios = [f"{r:.3f}" for r in (self.nfe_ratio, self.error_ratio, self.work_ratio)]
        errors = [f"{e:.2e}" for e in self.error]
        return [self.problem, f"{self.tol:.0e}", *map(str, self.nfe), *errors, *ratios]


@torch.no_grad()
def compare(problem: Problem, tol: float, exact: Tensor) -> Cell:
    odeint = need("torchdiffeq").odeint
    peer, ours = Counted(problem.f), Counted(problem.f)
    ts = torch.tensor([0.0, problem.end], dtype=torch.float64)
    theirs = odeint(peer, problem.y0, ts, rtol=tol, atol=tol, method="dopri5")[-1]
    solution = Solver("dopri5", tol, tol)(ours, problem.y0, [0.0, problem.end])
    if solution.stats.forward.nfe != ours.calls:
        raise RuntimeError(f"{ours.calls} calls, but stats say {solution.stats.forward.nfe}")
    errors = rms(theirs - exact), rms(solution.final - exact)
    return Cell(problem.name, tol, (peer.calls, ours.calls), errors)


def summary(cells: list[Cell]) -> list[str]:
    peer, ours = (sum(cell.nfe[i] for cell in cells) for i in (0, 1))
    worse = [cell for cell in cells if cell.error_ratio > 1]
    worst = max(cells, key=lambda cell: cell.error_ratio)
    return [
        f"evaluations in all: torchdiffeq {peer}, node_runner {ours}, ratio {ours / peer:.3f}",
        f"geometric mean of the error ratio: {geometric_mean(c.error_ratio for c in cells):.3f}",
        f"our error is the larger in {len(worse)} of {len(cells)} cells; the largest ratio is "
        f"{worst.error_ratio:.2f} ({worst.problem}, {worst.tol:.0e})",
        f"work at equal error, geometric mean: {geometric_mean(c.work_ratio for c in cells):.3f}",
    ]


def main() -> None:
    args = begin(parser(__doc__))
    need("torchdiffeq")
    cells = []
    for problem in PROBLEMS:
        exact = endpoint(problem, problem.y0)
        cells += [compare(problem, tol, exact) for tol in TOLERANCES]
    about = environment("evaluations", args, ["torch", "torchdiffeq", "scipy"])
    rows = [cell.row() for cell in cells]
    report("evaluations", args, [about, table(HEADER, rows), bullets(summary(cells))])


if __name__ == "__main__":
    main()
