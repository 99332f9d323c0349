"""Evaluations that an accuracy costs: Adams of variable order beside dopri5 and SciPy's solvers.

The problems of benchmarks/problems.py, which are smooth, and two fields trained for ``--training``
steps (benchmarks/trained_fields.py: the toy flow with its density, smooth, and the ODE-net of
MNIST, which has ReLUs), in float64 at tolerances from 1e-3 to 1e-8, on one sample, since LSODA sees
a batch as one vector in another norm. Errors are the RMS of the end against DOP853 at 1e-12, of the
ODE-net at 1e-10. Evaluations at equal error are read off each solver's curve of error against
evaluations, by log-linear interpolation at the error that dopri5 has.

    NODE_RUNNER_DATA=... python -m benchmarks.adams
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from benchmarks.harness import begin, environment, need, parser, report, table
from benchmarks.problems import PROBLEMS, Problem, rigid_body
from benchmarks.reference import endpoint, rms
from benchmarks.trained_fields import flow, odenet
from node_runner.ode import Solver

TOLERANCES = tuple(10.0**-k for k in range(3, 9))
OURS, PEERS = ("dopri5", "adams"), ("vode", "lsoda")
HEADER = ["problem", "tol", *(f"{n} {w}" for n in (*OURS, *PEERS) for w in ("NFE", "error"))]
Curve = list[tuple[int, float]]  # evaluations and error, by tolerance
MEANS = ["problem", "cells", "adams", "cells", "vode", "cells", "lsoda"]


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
def curves(problem: Problem, tolerances: tuple[float, ...], finest: float) -> dict[str, Curve]:
    one = replace(problem, y0=problem.y0[:1])
    exact = endpoint(one, one.y0, finest)
    found: dict[str, Curve] = {name: [] for name in (*OURS, *PEERS)}
    for tol in tolerances:
        for name in OURS:
            solved = Solver(name, tol, tol)(one.f, one.y0, [0.0, one.end])
            found[name].append((solved.stats.forward.nfe, rms(solved.final - exact)))
        for name in PEERS:
            end, nfe = by_scipy(one, name, tol)
            found[name].append((nfe, rms(end - exact)))
    return found


def ratios(found: dict[str, Curve], name: str) -> list[float]:
    """Evaluations over those of dopri5, at each of its errors that the curve reaches."""
    pairs = [(at_error(found[name], error), nfe) for nfe, error in found["dopri5"]]
    return [other / nfe for other, nfe in pairs if other is not None]


def means(label: str, found: list[dict[str, Curve]]) -> list[str]:
    """The row of one problem or of several: how many cells there are, and their mean ratio."""
    cells = [label]
    for name in (OURS[1], *PEERS):
        each = [ratio for curves_of in found for ratio in ratios(curves_of, name)]
        cells += [str(len(each)), f"{geometric_mean(each):.2f}" if each else "-"]
    return cells


def plot(found: dict[str, dict[str, Curve]], path: Path) -> None:
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, -(-len(found) // 2), squeeze=False)
    for axes, (problem, of_solvers) in zip(panels.flat, found.items(), strict=False):
        for (name, curve), marker in zip(of_solvers.items(), "osv^", strict=True):
            axes.loglog(*zip(*curve, strict=True), f"{marker}-", label=name, markersize=4)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelsize=8)
        axes.set_title(problem, fontsize=10)
        axes.grid(alpha=0.3, which="both")
    figure.supxlabel("evaluations")
    figure.supylabel("error at the end (RMS)")
    panels[0, 0].legend()
    figure.savefig(path, dpi=150)


def rows(problem: str, found: dict[str, Curve], tolerances: tuple[float, ...]) -> list[list[str]]:
    return [
        [problem, f"{tol:.0e}", *(c for nfe, error in points for c in (str(nfe), f"{error:.1e}"))]
        for tol, points in zip(tolerances, zip(*found.values(), strict=True), strict=True)
    ]


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--training", type=int, default=300, help="steps of training, default 300")
    args = begin(made)
    tolerances = TOLERANCES[:2] if args.smoke else TOLERANCES
    net = odenet(args.training, smoke=args.smoke)
    smooth = [*PROBLEMS, rigid_body(), flow(args.training)]
    found = {problem.name: curves(problem, tolerances, 1e-12) for problem in smooth}
    found[net.name] = curves(net, tolerances, 1e-6 if args.smoke else 1e-10)
    table_of_all = [row for name, each in found.items() for row in rows(name, each, tolerances)]
    averages = [means(name, [each]) for name, each in found.items()]
    averages += [means("all", list(found.values()))]
    about = environment("adams", args, ["torch", "scipy"])
    title = "Evaluations over dopri5's at equal error, geometric means"
    parts = [about, table(HEADER, table_of_all), title, table(MEANS, averages)]
    report("adams", args, parts)
    if args.out is not None:
        plot(found, args.out / "adams.png")


if __name__ == "__main__":
    main()
