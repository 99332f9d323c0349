"""Evaluations that an accuracy costs: Adams of variable order beside dopri5 and SciPy's solvers.

Smooth problems of benchmarks/problems.py in float64 at tolerances from 1e-3 to 1e-8, on one sample,
since VODE and LSODA see a batch as one vector in another norm. Errors are the RMS of the end
against DOP853 at 1e-12. Evaluations at equal error are read off each solver's curve of error
against evaluations, by log-linear interpolation at the error that dopri5 has.

    python -m benchmarks.adams
"""

from __future__ import annotations

from dataclasses import replace
from statistics import geometric_mean

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import begin, bullets, environment, need, parser, report, table
from benchmarks.problems import PROBLEMS, Problem
from benchmarks.reference import endpoint, rms
from node_runner.ode import Solver

TOLERANCES = tuple(10.0**-k for k in range(3, 9))
OURS, PEERS = ("dopri5", "adams"), ("vode", "lsoda")
HEADER = ["problem", "tol", *(f"{n} {w}" for n in (*OURS, *PEERS) for w in ("NFE", "error"))]
Curve = list[tuple[int, float]]


def by_scipy(problem: Problem, solver: str, tol: float) -> tuple[Tensor, int]:
    calls = 0

    def f(t: float, y: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        row = torch.from_numpy(y).view(problem.y0.shape)
        return problem.f(torch.tensor(t, dtype=torch.float64), row).reshape(-1).numpy()

    kind = {"method": "adams"} if solver == "vode" else {"max_order_s": 5}
    made = need("scipy.integrate", extra="test").ode(f)
    made.set_integrator(solver, rtol=tol, atol=tol, nsteps=100_000, **kind)
    made.set_initial_value(problem.y0.reshape(-1).numpy(), 0.0)
    return torch.from_numpy(made.integrate(problem.end)).view(problem.y0.shape), calls


def at_error(curve: Curve, error: float) -> float | None:
    """Evaluations at an error, between two points of the curve; None outside it."""
    for (n0, e0), (n1, e1) in zip(curve, curve[1:], strict=False):
        if e1 <= error <= e0 and e1 < e0:
            share = np.log(e0 / error) / np.log(e0 / e1)
            return float(np.exp(np.log(n0) + share * (np.log(n1) - np.log(n0))))
    return None


@torch.no_grad()
def curves(problem: Problem, tolerances: tuple[float, ...]) -> dict[str, Curve]:
    one = replace(problem, y0=problem.y0[:1])
    exact = endpoint(one, one.y0)
    found: dict[str, Curve] = {name: [] for name in (*OURS, *PEERS)}
    for tol in tolerances:
        for name in OURS:
            solved = Solver(name, tol, tol)(one.f, one.y0, [0.0, one.end])
            found[name].append((solved.stats.forward.nfe, rms(solved.final - exact)))
        for name in PEERS:
            end, nfe = by_scipy(one, name, tol)
            found[name].append((nfe, rms(end - exact)))
    return found


def main() -> None:
    args = begin(parser(__doc__))
    tolerances = TOLERANCES[:2] if args.smoke else TOLERANCES
    rows, ratios = [], {name: [] for name in (OURS[1], *PEERS)}
    for problem in PROBLEMS:
        found = curves(problem, tolerances)
        for i, tol in enumerate(tolerances):
            cells = [
                c for curve in found.values() for c in (str(curve[i][0]), f"{curve[i][1]:.1e}")
            ]
            rows.append([problem.name, f"{tol:.0e}", *cells])
            nfe, error = found["dopri5"][i]
            for name, all_of_it in ratios.items():
                other = at_error(found[name], error)
                all_of_it += [] if other is None else [other / nfe]
    lines = [
        f"{name}: {geometric_mean(r):.2f} of dopri5's evaluations at equal error, geometric mean "
        f"of {len(r)} cells"
        for name, r in ratios.items()
        if r
    ]
    about = environment("adams", args, ["torch", "scipy"])
    report("adams", args, [about, table(HEADER, rows), bullets(lines)])


if __name__ == "__main__":
    main()
