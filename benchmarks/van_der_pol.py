"""The cost of the loop itself: a batch of van der Pol oscillators, forward only.

mu = 2, batch 256, float32, [0, 10], no gradient: so small an f that what the solver does between
two evaluations is most of the time. Compared are, with dopri5 at rtol = atol = 1e-5, torchdiffeq,
node_runner's Solver with both engines, torchode as it is and compiled, and diffrax; and with
Kutta's 3/8 rule in steps of 0.05 (our rk38, torchdiffeq's rk4) torchdiffeq and both engines. The
engine compiled runs the whole loop in one graph; as "steps", where a gradient might be wanted, one
step attempt. Compiling is not timed. torchode steps each sample by itself, all others the batch.

They are timed in turns of a twentieth of a second or more, with bare f: the floor of a run is bare
f times its number of evaluations, which what is compiled with f may undercut. The endpoint error is
the RMS against SciPy's DOP853 in float64 at 1e-12. For an order p method work grows as
error^(-1/p), so the verdict is time ratio * error ratio^(1/p).

    python -m benchmarks.van_der_pol
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import (
    Timing,
    begin,
    bullets,
    environment,
    interleave,
    need,
    parser,
    report,
    table,
)
from benchmarks.peers import Solve, diffrax, torchode
from benchmarks.problems import Problem, van_der_pol
from benchmarks.reference import endpoint, rms
from node_runner.ode import Solver

TOL, STEP = 1e-5, 0.05
FILL = 0.05  # seconds of a turn
OURS, PEER, FLOOR = "node_runner", "torchdiffeq", "bare f"
WHOLE, STEPS = "node_runner compiled", "node_runner compiled, steps"
ORDERS = {"dopri5": 5, "rk38": 4}
SLOW_TO_COMPILE = {("dopri5", STEPS), ("dopri5", WHOLE), ("dopri5", "torchode compiled")}
HEADER = ["method", "solver", "NFE", "ms", "x faster", "us per evaluation", "x floor"]
HEADER += ["endpoint error"]


@dataclass(frozen=True)
class Measured:
    """One solver with one method: its time, its floor's, evaluations, endpoint error."""

    timing: Timing
    floor: Timing
    nfe: int
    error: float

    @property
    def microseconds(self) -> float:
        """Per evaluation."""
        return 1e6 * self.timing.median / self.nfe

    @property
    def above_floor(self) -> float:
        """Microseconds per evaluation that are not f's own."""
        return self.microseconds * (1 - 1 / self.timing.over(self.floor))

    def cells(self, peer: Measured) -> list[str]:
        return [
            str(self.nfe),
            self.timing.ms,
            f"{peer.timing.over(self.timing):.2f}",
            f"{self.microseconds:.1f}",
            f"{self.timing.over(self.floor):.2f}",
            f"{self.error:.3e}",
        ]


def ours(solver: Solver, problem: Problem, y0: Tensor, graph: bool = False) -> Solve:
    """``graph``: with gradients enabled, although nothing here requires one."""

    def run() -> tuple[Tensor, int]:
        with torch.set_grad_enabled(graph):
            solution = solver(problem.f, y0, [0.0, problem.end])
        return solution.final, solution.stats.forward.nfe

    return run


def theirs(problem: Problem, y0: Tensor, **options: object) -> Solve:
    """torchdiffeq's odeint; the evaluations are counted once, before it is timed."""
    odeint, ts = need("torchdiffeq").odeint, torch.tensor([0.0, problem.end])
    calls = 0

    def counted(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return problem.f(t, y)

    odeint(counted, y0, ts, **options)
    return lambda: (odeint(problem.f, y0, ts, **options)[-1], calls)


def in_jax(y0: Tensor, end: float, mu: float = 2.0) -> Solve:
    """The same problem for diffrax."""
    jnp = need("jax.numpy")

    def f(t: Any, y: Any, args: None) -> Any:
        x, v = y[:, 0], y[:, 1]
        return jnp.stack((v, mu * (1 - x * x) * v - x), axis=1)

    return diffrax(f, jnp.asarray(y0.numpy()), end, TOL)


def contestants(problem: Problem, y0: Tensor) -> dict[tuple[str, str], Solve]:
    """y(end) and NFE, for each method and solver."""
    adaptive, fixed = ("dopri5", TOL, TOL), ("rk38", TOL, TOL, STEP)
    compiled = Solver(*adaptive, engine="compiled")
    rk4 = {"method": "rk4", "options": {"step_size": STEP}}
    return {
        ("dopri5", PEER): theirs(problem, y0, rtol=TOL, atol=TOL, method="dopri5"),
        ("dopri5", OURS): ours(Solver(*adaptive), problem, y0),
        ("dopri5", STEPS): ours(compiled, problem, y0, graph=True),
        ("dopri5", WHOLE): ours(compiled, problem, y0),
        ("dopri5", "torchode"): torchode(problem.f, y0, problem.end, TOL, compiled=False),
        ("dopri5", "torchode compiled"): torchode(problem.f, y0, problem.end, TOL, compiled=True),
        ("dopri5", "diffrax"): in_jax(y0, problem.end),
        ("rk38", PEER): theirs(problem, y0, **rk4),
        ("rk38", OURS): ours(Solver(*fixed), problem, y0),
        ("rk38", WHOLE): ours(Solver(*fixed, engine="compiled"), problem, y0),
    }


@torch.no_grad()
def measure(problem: Problem, rounds: int, smoke: bool) -> dict[tuple[str, str], Measured]:
    y0 = problem.y0.float()
    exact = endpoint(problem, y0)  # from the rounded start, which is part of neither's error
    runs = contestants(problem, y0)
    if smoke:  # each compiled contestant takes its minute
        runs = {key: run for key, run in runs.items() if key not in SLOW_TO_COMPILE}
    costs = {key: run() for key, run in runs.items()}
    many = max(nfe for _, nfe in costs.values())
    time = torch.zeros(())

    def bare() -> None:
        for _ in range(many):
            problem.f(time, y0)

    callables = {" ".join(key): run for key, run in runs.items()}
    timings = interleave({**callables, FLOOR: bare}, rounds, 0.0 if smoke else FILL)
    return {
        key: Measured(
            timings[" ".join(key)],
            timings[FLOOR].times(nfe / many),
            nfe,
            rms(torch.tensor(np.asarray(y), dtype=torch.float64) - exact),
        )
        for key, (y, nfe) in costs.items()
    }


def verdict(method: str, solver: str, ours: Measured, peer: Measured) -> str:
    time, error = ours.timing.over(peer.timing), ours.error / peer.error
    return (
        f"{method}, {solver} over {PEER}: time {time:.4f}, time per evaluation "
        f"{time * peer.nfe / ours.nfe:.4f}, error {error:.3f}, time at equal error "
        f"{time * error ** (1 / ORDERS[method]):.4f}; above the floor "
        f"{ours.above_floor:.1f} us an evaluation against {peer.above_floor:.1f}"
    )


def main() -> None:
    args = begin(parser(__doc__, rounds=True))
    need("torchdiffeq")
    found = measure(van_der_pol(), args.rounds, args.smoke)
    floor = found["dopri5", OURS]
    rows = [[*key, *m.cells(found[key[0], PEER])] for key, m in found.items()]
    lines = [f"floor: bare f takes {1e6 * floor.floor.median / floor.nfe:.1f} us an evaluation"]
    lines += [
        verdict(method, solver, found[method, solver], found[method, PEER])
        for method in ORDERS
        for solver in (OURS, WHOLE)
        if (method, solver) in found
    ]
    packages = ["torch", "torchdiffeq", "torchode", "diffrax", "jax", "scipy"]
    about = environment("van_der_pol", args, packages)
    report("van_der_pol", args, [about, table(HEADER, rows), bullets(lines)])


if __name__ == "__main__":
    main()
