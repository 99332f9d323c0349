"""Stiff problems: evaluations, steps and error, beside SciPy's solvers of the same kind.

Robertson's reaction (Hairer, Wanner, Solving ODEs II, IV.1, eq. 1.4) for a batch of 64 rate
constants to t = 1e5, van der Pol's oscillator with mu = 1000 over two of its jumps, and HIRES (the
same, IV.10, eq. 10.3), in float64 at rtol 1e-6. The error is the largest of the end over atol +
rtol |y|, against SciPy's Radau at 1e-10. SciPy solves one sample; its evaluations count those of
its difference Jacobians, and ours those of Newton's iteration; Jacobians of both are by products
with them. Explicit methods are given the same cap of 10,000 steps.

diffrax's Kvaerno5 has the coefficients of ours and sees the batch as one vector, in the same RMS
norm; it counts no evaluations, and its seconds are those of a second call, compiled. By default it
solves its stages by a chord iteration, with one Jacobian a step, and controls steps by the integral
rule; beside that stand the PI rule that its documentation has for mildly stiff problems (pcoeff
0.4, icoeff 0.3) and Newton's iteration, with a Jacobian an iteration.

    python -m benchmarks.stiff
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import begin, bullets, environment, need, parser, report, table
from benchmarks.peers import kvaerno5
from benchmarks.problems import Problem
from node_runner.ode import Solver, SolverError

RTOL = 1e-6
OURS = ("kvaerno5", "radau_iia5", "bdf", "dopri5")
PEERS = ("BDF", "Radau")
PI = {"pcoeff": 0.4, "icoeff": 0.3}
SETTINGS = {  # of diffrax: whether its stages are solved by Newton's iteration, and step control
    "default": (False, {}),
    "PI": (False, PI),
    "Newton": (True, {}),
    "Newton, PI": (True, PI),
}
HEADER = ["problem", "solver", "accepted", "rejected", "evaluations", "error / tolerance", "s"]


Columns = tuple[Any, ...]  # of the state, each (B,), or of its rate


@dataclass(frozen=True)
class Stiff(Problem):
    """Its rows do not see each other; SciPy takes the first.

    Attributes:
        equations: rates of the columns of y and of the constants of each row, in torch and in jax.
        constants: shape (B,).
    """

    equations: Callable[..., Columns]
    constants: Tensor
    atol: float


def stiff(
    name: str,
    equations: Callable[..., Columns],
    y0: Tensor,
    end: float,
    atol: float,
    constants: Tensor | None = None,
) -> Stiff:
    constants = torch.ones(len(y0), dtype=y0.dtype) if constants is None else constants

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack(equations(*y.unbind(1), constants[: len(y)]), dim=1)

    return Stiff(name, f, y0, end, equations, constants, atol)


def robertson(batch: int) -> Stiff:
    def equations(a: Any, b: Any, c: Any, fast: Any) -> Columns:
        slow, quick, done = 0.04 * a, 1e4 * b * c, fast * b * b
        return quick - slow, slow - quick - done, done

    fast = torch.linspace(1.0, 2.0, batch, dtype=torch.float64) * 3e7
    start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(batch, 3).clone()
    return stiff(f"Robertson, batch {batch}", equations, start, 1e5, 1e-10, fast)


def relaxation() -> Stiff:
    def equations(x: Any, v: Any, mu: Any) -> Columns:
        return v, mu * (1 - x * x) * v - x

    start, mu = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([1000.0]).double()
    return stiff("van der Pol, mu = 1000", equations, start, 2000.0, 1e-6, mu)


def hires() -> Stiff:
    def equations(
        a: Any, b: Any, c: Any, d: Any, e: Any, g: Any, h: Any, i: Any, _: Any
    ) -> Columns:
        bound = 280 * g * i
        return (
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * g + 0.43 * h,
            -bound + 0.69 * d + 1.71 * e - 0.43 * g + 0.69 * h,
            bound - 1.81 * h,
            -bound + 1.81 * h,
        )

    start = torch.zeros(1, 8, dtype=torch.float64)
    start[0, 0], start[0, 7] = 1.0, 0.0057
    return stiff("HIRES", equations, start, 321.8122, 1e-9)


def by_scipy(problem: Stiff, method: str, rtol: float, atol: float) -> tuple[Tensor, int, int]:
    """The first row's end, accepted steps and evaluations."""

    def f(t: float, y: np.ndarray) -> np.ndarray:
        row = torch.from_numpy(y)[None]
        return problem.f(torch.tensor(t, dtype=torch.float64), row)[0].numpy()

    integrate = need("scipy.integrate", extra="test")
    span = (0.0, problem.end)
    found = integrate.solve_ivp(f, span, problem.y0[0].numpy(), method, rtol=rtol, atol=atol)
    return torch.from_numpy(found.y[:, -1].copy()), len(found.t) - 1, found.nfev


@dataclass(frozen=True)
class Row:
    """One solver on one problem; its cells as far as it has them."""

    solver: str
    steps: tuple[str, str]  # accepted and rejected
    nfe: str
    error: str
    seconds: float

    def cells(self, problem: Stiff) -> list[str]:
        return [problem.name, self.solver, *self.steps, self.nfe, self.error, f"{self.seconds:.2f}"]


def by_ours(problem: Stiff, name: str, off: Callable[[Tensor], str]) -> Row:
    start = perf_counter()
    try:
        solved = Solver(name, RTOL, problem.atol)(problem.f, problem.y0, [0.0, problem.end])
        counts, error = solved.stats.forward, off(solved.final[0])
        steps, nfe = (str(counts.accepted), str(counts.rejected)), str(counts.nfe)
    except SolverError as failure:
        steps, nfe, error = tuple(map(str, failure.steps)), "-", f"stops at t={failure.t:.3g}"
    return Row(name, steps, nfe, error, perf_counter() - start)


def by_peer(problem: Stiff, method: str, off: Callable[[Tensor], str]) -> Row:
    start = perf_counter()
    end, steps, nfe = by_scipy(problem, method, RTOL, problem.atol)
    seconds = perf_counter() - start
    return Row(f"SciPy {method}", (str(steps), "-"), str(nfe), off(end), seconds)


def by_diffrax(problem: Stiff, setting: str, off: Callable[[Tensor], str]) -> Row:
    newton, coefficients = SETTINGS[setting]
    solve = kvaerno5(problem.equations, problem.y0, problem.constants, problem.end)
    run = solve(RTOL, problem.atol, newton, **coefficients)
    run()  # compiles
    start = perf_counter()
    end, accepted, rejected = run()
    seconds, error = perf_counter() - start, "fails" if end is None else off(end[0])
    return Row(f"diffrax Kvaerno5, {setting}", (str(accepted), str(rejected)), "-", error, seconds)


def measure(problem: Stiff, settings: Sequence[str]) -> list[Row]:
    exact = by_scipy(problem, "Radau", 1e-10, 1e-4 * problem.atol)[0]

    def off(end: Tensor) -> str:
        return f"{((end - exact).abs() / (problem.atol + RTOL * exact.abs())).max().item():.1f}"

    return [
        *(by_ours(problem, name, off) for name in OURS),
        *(by_diffrax(problem, setting, off) for setting in settings),
        *(by_peer(problem, method, off) for method in PEERS),
    ]


def verdict(problem: Stiff, rows: list[Row], settings: Sequence[str]) -> str:
    """Attempts of our kvaerno5 over diffrax's."""
    attempts = {row.solver: sum(int(n) for n in row.steps if n != "-") for row in rows}
    ours = attempts["kvaerno5"]
    ratios = [f"{ours / attempts[f'diffrax Kvaerno5, {s}']:.2f} ({s})" for s in settings]
    return f"{problem.name}: our kvaerno5 over diffrax's, attempts: {', '.join(ratios)}"


@torch.no_grad()
def main() -> None:
    args = begin(parser(__doc__))
    settings, problems = [*SETTINGS], [robertson(64), relaxation(), hires()]
    if args.smoke:
        settings, problems = settings[-1:], [replace(hires(), end=1.0)]
    found = {problem.name: (problem, measure(problem, settings)) for problem in problems}
    lines = [verdict(problem, rows, settings) for problem, rows in found.values()]
    cells = [row.cells(problem) for problem, rows in found.values() for row in rows]
    about = environment("stiff", args, ["torch", "scipy", "diffrax", "jax"])
    report("stiff", args, [about, table(HEADER, cells), bullets(lines)])


if __name__ == "__main__":
    main()
