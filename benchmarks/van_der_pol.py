"""The cost of the loop itself: a batch of van der Pol oscillators, forward only.

mu = 2, batch 256, float32, [0, 10], no gradient: so small an f that what the solver does between
two evaluations is most of the time. Compared are torchdiffeq.odeint and node_runner's Solver, with
dopri5 at rtol = atol = 1e-5 and with Kutta's 3/8 rule in steps of 0.05 (our rk38, torchdiffeq's
rk4). They are timed in turns, together with bare f: the floor of a run is bare f times its number
of evaluations. The endpoint error is the RMS against SciPy's DOP853 in float64 at 1e-12. For an
order p method work grows as error^(-1/p), so the verdict is time ratio * error ratio^(1/p).

    python -m benchmarks.van_der_pol
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from benchmarks.problems import Problem, van_der_pol
from benchmarks.reference import endpoint, rms
from node_runner.ode import Solver

TOL, STEP = 1e-5, 0.05
OURS, PEER, FLOOR = "node_runner", "torchdiffeq", "bare f"
ORDERS = {"dopri5": 5, "rk38": 4}
HEADER = ["method", "solver", "NFE", "ms", "us per evaluation", "x floor", "endpoint error"]

Run = Callable[[Callable[[Tensor, Tensor], Tensor]], Tensor]


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

    def cells(self) -> list[str]:
        return [
            str(self.nfe),
            self.timing.ms,
            f"{self.microseconds:.1f}",
            f"{self.timing.over(self.floor):.2f}",
            f"{self.error:.3e}",
        ]


def contestants(problem: Problem, y0: Tensor) -> dict[tuple[str, str], Run]:
    """f -> y(end) for each method and solver."""
    odeint = need("torchdiffeq").odeint
    ts = torch.tensor([0.0, problem.end])
    dopri5, rk38 = Solver("dopri5", TOL, TOL), Solver("rk38", step_size=STEP)
    fixed = {"step_size": STEP}
    return {
        ("dopri5", PEER): lambda f: odeint(f, y0, ts, rtol=TOL, atol=TOL, method="dopri5")[-1],
        ("dopri5", OURS): lambda f: dopri5(f, y0, [0.0, problem.end]).final,
        ("rk38", PEER): lambda f: odeint(f, y0, ts, method="rk4", options=fixed)[-1],
        ("rk38", OURS): lambda f: rk38(f, y0, [0.0, problem.end]).final,
    }


def evaluate(run: Run, f: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, int]:
    """y(end), and how often f was called."""
    calls = 0

    def counted(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return f(t, y)

    return run(counted), calls


@torch.no_grad()
def measure(problem: Problem, rounds: int) -> dict[tuple[str, str], Measured]:
    y0 = problem.y0.float()
    exact = endpoint(problem, y0)  # from the rounded start, which is part of neither's error
    runs = contestants(problem, y0)
    costs = {key: evaluate(run, problem.f) for key, run in runs.items()}
    many = max(nfe for _, nfe in costs.values())
    time = torch.zeros(())

    def bare() -> None:
        for _ in range(many):
            problem.f(time, y0)

    callables = {" ".join(key): (lambda run=run: run(problem.f)) for key, run in runs.items()}
    timings = interleave({**callables, FLOOR: bare}, rounds)
    return {
        key: Measured(
            timings[" ".join(key)],
            timings[FLOOR].times(nfe / many),
            nfe,
            rms(y.double() - exact),
        )
        for key, (y, nfe) in costs.items()
    }


def verdict(method: str, ours: Measured, peer: Measured) -> str:
    time, error = ours.timing.over(peer.timing), ours.error / peer.error
    return (
        f"{method}, {OURS} over {PEER}: time {time:.3f}, time per evaluation "
        f"{time * peer.nfe / ours.nfe:.3f}, error {error:.3f}, time at equal error "
        f"{time * error ** (1 / ORDERS[method]):.3f}; above the floor "
        f"{ours.above_floor:.1f} us an evaluation against {peer.above_floor:.1f}"
    )


def main() -> None:
    args = begin(parser(__doc__, rounds=True))
    need("torchdiffeq")
    found = measure(van_der_pol(), args.rounds)
    floor = found["dopri5", OURS]
    rows = [[*key, *measured.cells()] for key, measured in found.items()]
    lines = [f"floor: bare f takes {1e6 * floor.floor.median / floor.nfe:.1f} us an evaluation"]
    lines += [verdict(m, found[m, OURS], found[m, PEER]) for m in ORDERS]
    about = environment("van_der_pol", args, ["torch", "torchdiffeq", "scipy"])
    report("van_der_pol", args, [about, table(HEADER, rows), bullets(lines)])


if __name__ == "__main__":
    main()
