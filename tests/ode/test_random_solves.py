"""Random solves against SciPy: each is right, as far off as SciPy's method, or ends by an error.

A few run in the suite. All 300, with a line for each that is neither and a summary:

    python tests/ode/test_random_solves.py 300
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from math import inf, nan
from random import Random
from time import perf_counter

import numpy as np
import pytest
import torch

from node_runner.ode import Solver, SolverError, methods
from node_runner.ode.torchdiffeq import odeint

CAP = 1000
# The adaptive methods, and SciPy's of that order; None where it has none.
SCIPYS = {"dopri5": "RK45", "tsit5": "RK45", "dopri8": "DOP853", "bosh3": "RK23"}
SCIPYS |= {"adaptive_heun": None, "fehlberg2": None}
KINDS = ("stiff", "blow-up", "NaN", "jump", "oscillating", "at rest", "smooth")
TOLERANCES = (1e-3, 1e-5, 1e-7)


@dataclass(frozen=True)
class Case:
    """One solve of y' = f(t, y)."""

    kind: str
    method: str
    tol: float
    dtype: torch.dtype
    y0: tuple[float, ...]
    ends: tuple[float, float]
    outputs: int
    size: float
    drop_in: bool

    def f(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        s, sign = self.size, 1.0 if self.ends[1] > self.ends[0] else -1.0
        when = self.ends[0] + sign * s / 10
        rates = {
            "stiff": lambda: -(10 ** (2 * s)) * (y - torch.cos(t)),
            "blow-up": lambda: s * y * y,
            "NaN": lambda: torch.where(sign * t > sign * when, nan, -sign * y),
            "jump": lambda: torch.where(sign * t > sign * when, 2.0 + s, -1.0) - y * sign,
            "oscillating": lambda: 10 * s * torch.stack((y[1], -y[0])),
            "at rest": lambda: torch.zeros_like(y),
            "smooth": lambda: y * torch.cos(s * t) - s * torch.sin(y),
        }
        rate = rates[self.kind]()
        return sign * rate if self.kind in ("stiff", "blow-up") else rate

    def in_numpy(self, t: float, y: object) -> object:
        return self.f(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y)).numpy()


def make_case(seed: int) -> Case:
    """The case of a seed."""
    draw = Random(seed)
    start = draw.choice((0.0, 0.5, -1.0))
    length = draw.choice((-1, 1)) * draw.uniform(0.5, 3.0)
    return Case(
        kind=KINDS[seed % len(KINDS)],
        method=draw.choice(list(SCIPYS)),
        tol=draw.choice(TOLERANCES),
        dtype=draw.choice((torch.float32, torch.float64)),
        y0=tuple(draw.uniform(0.2, 2.0) * draw.choice((1, 1, -1)) for _ in "ab"),
        ends=(start, start + length),
        outputs=draw.choice((2, 5, 40)),
        size=draw.uniform(0.3, 2.5),
        drop_in=draw.random() < 0.3,
    )


def solve(case: Case) -> torch.Tensor:
    y0 = torch.tensor(case.y0, dtype=case.dtype)
    t = torch.linspace(*case.ends, case.outputs, dtype=torch.float64)
    if case.drop_in:
        most = {"max_num_steps": -(-CAP // (case.outputs - 1))}
        how = {"method": case.method, "rtol": case.tol, "atol": case.tol, "options": most}
        return odeint(case.f, y0, t, **how)[-1]
    solution = Solver(case.method, case.tol, case.tol, max_steps=CAP)(case.f, y0, t)
    assert solution.stats.forward.accepted + solution.stats.forward.rejected <= CAP
    return solution.final


def in_scipy(name: str) -> type:
    """One of our methods in SciPy's own solver, which takes a tableau where RK23 has its own."""
    tableau = methods.get(name).tableau
    attributes = {
        "order": tableau.order,
        "error_estimator_order": tableau.error_order or tableau.order - 1,
        "n_stages": tableau.stages,
        "A": np.array([[*row, *[0.0] * (tableau.stages - len(row))] for row in tableau.a]),
        "B": np.array(tableau.b),
        "C": np.array(tableau.c),
        "E": np.array([*tableau.b_error, *[0.0] * (tableau.stages + 1 - len(tableau.b_error))]),
    }
    return type(name, (pytest.importorskip("scipy.integrate").RK23,), attributes)


def scipys(case: Case, method: str | type, tol: float) -> torch.Tensor | None:
    """SciPy's end of the solve; None where it has none."""
    calls = 0

    def f(t: float, y: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 20_000:
            raise OverflowError
        return case.in_numpy(t, y)

    try:
        y0 = torch.tensor(case.y0, dtype=case.dtype).double().numpy()
        integrate = pytest.importorskip("scipy.integrate").solve_ivp
        found = integrate(f, case.ends, y0, method, rtol=tol, atol=tol)
    except (OverflowError, ValueError):
        return None
    end = torch.from_numpy(found.y[:, -1].copy())
    return end if found.success and bool(torch.isfinite(end).all()) else None


@torch.no_grad()
def verdict(case: Case) -> str:
    """ "right", "as SciPy", "error", or what is wrong."""
    try:
        y = solve(case).double()
    except SolverError as error:
        named = error.cause and all(error.advice) and sum(error.steps) <= CAP + case.outputs
        return "error" if named else f"WRONG: an error without a cause: {error}"
    if not bool(torch.isfinite(y).all()):
        return "WRONG: not finite"
    exact = scipys(case, "LSODA" if case.kind == "stiff" else "DOP853", 1e-10)
    if exact is None:
        return "WRONG: an end where SciPy at 1e-10 has none"
    allowed = 50 * case.tol * (1 + exact.abs().max().item())
    off = (y - exact).abs().max().item()
    if off <= allowed:
        return "right"
    other = scipys(case, SCIPYS[case.method] or in_scipy(case.method), case.tol)
    theirs = inf if other is None else (other - exact).abs().max().item()
    return "as SciPy" if off <= 3 * theirs else f"WRONG: off by {off:.2g}, SciPy by {theirs:.2g}"


@pytest.mark.parametrize("seed", range(14))
def test_a_random_solve_is_right_or_ends_by_an_error(seed):
    found = verdict(make_case(seed))
    assert not found.startswith("WRONG"), (make_case(seed), found)


def main(count: int, first: int = 0) -> None:
    """Run ``count`` cases from seed ``first`` and print what is wrong, then a summary."""
    counts, slowest = Counter(), 0.0
    for seed in range(first, first + count):
        start = perf_counter()
        found = verdict(make_case(seed))
        slowest = max(slowest, perf_counter() - start)
        counts[found.split(":")[0]] += 1
        if seed % 20 == 19:
            print(seed + 1, dict(counts), flush=True)
        if found.startswith("WRONG"):
            print(seed, make_case(seed), found, flush=True)
    print(dict(counts), f"slowest {slowest:.1f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["300"]))
