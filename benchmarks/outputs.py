"""Evaluations that outputs cost: 101 of them on a trained flow, by methods with dense output.

The toy flow of benchmarks/trained_fields.py with its density, one sample in float64. dopri8 has a
continuous extension of order 7 with three more stages, which are evaluated in steps that have
outputs inside; SciPy's DOP853 has the same from three stages of its own. Errors are the largest
over all outputs against DOP853 at 3e-14.

    python -m benchmarks.outputs
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import begin, environment, need, parser, report, table
from benchmarks.problems import Problem
from benchmarks.trained_fields import flow
from node_runner.ode import Solver

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)
OURS, PEERS = ("dopri5", "dopri8"), ("RK45", "DOP853")
OUTPUTS = 101


def by_scipy(problem: Problem, method: str, tol: float, ts: np.ndarray) -> tuple[Tensor, int]:
    """The outputs, shape (T, width), and the evaluations."""
    start = problem.y0[:1]

    def f(t: float, y: np.ndarray) -> np.ndarray:
        rate = problem.f(torch.tensor(t, dtype=start.dtype), torch.from_numpy(y).view(start.shape))
        return rate.reshape(-1).numpy()

    solve = need("scipy.integrate", extra="test").solve_ivp
    ends = (0.0, problem.end)
    found = solve(f, ends, start.reshape(-1).numpy(), method, t_eval=ts, rtol=tol, atol=tol)
    return torch.from_numpy(found.y.T.copy()), found.nfev


def by_ours(problem: Problem, method: str, tol: float, ts: np.ndarray) -> tuple[Tensor, int]:
    solved = Solver(method, tol, tol)(problem.f, problem.y0[:1], ts.tolist())
    return solved.ys.reshape(len(ts), -1), solved.stats.forward.nfe


@torch.no_grad()
def main() -> None:
    made = parser(__doc__)
    made.add_argument("--training", type=int, default=300, help="steps, default %(default)s")
    args = begin(made)
    with torch.enable_grad():
        problem = flow(args.training)
    ts, rows = np.linspace(0.0, problem.end, OUTPUTS), []
    exact, _ = by_scipy(problem, "DOP853", 3e-14, ts)
    for tol in TOLERANCES[:1] if args.smoke else TOLERANCES:
        for name in (*OURS, *PEERS):
            solve = by_ours if name in OURS else by_scipy
            ys, nfe = solve(problem, name, tol, ts)
            rows.append([f"{tol:.0e}", name, str(nfe), f"{(ys - exact).abs().max().item():.1e}"])
    about = environment("outputs", args, ["torch", "scipy"])
    report("outputs", args, [about, table(["tol", "solver", "NFE", "largest error"], rows)])


if __name__ == "__main__":
    main()
