"""What the benchmarks of a training step share: contestants, floor, table, verdict.

Compared are torchdiffeq's odeint (plain backprop) and odeint_adjoint with the seminorm and with its
default norm, and node_runner with Direct, Replay and Adjoint, all with dopri5 and timed in turns.
The floor is bare evaluations timed in the same rounds: each of the run's forward evaluations once,
and backwards through the six of every accepted step (torchdiffeq, which interpolates its end, needs
the very last one as well). Rejected steps and the probe for the first step have no part in the
gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.harness import Timing, interleave, need
from node_runner.ode import Adjoint, Counts, Direct, Replay, Solver, Stats

STAGES = 6  # evaluations of an accepted dopri5 step that its end depends on
BARE = 20  # evaluations of one timing of the floor
BACKPROP, SEMINORM = "torchdiffeq odeint", "torchdiffeq adjoint, seminorm"
ADJOINT = "torchdiffeq adjoint"  # the way of the papers' code
PAIRS = (("node_runner Direct", BACKPROP), ("node_runner Adjoint", SEMINORM))
FORWARD, BOTH = "bare forward", "bare forward and backward"
HEADER = ["field", "step", "ms", "/ backprop", "/ seminorm", "/ adjoint", "steps", "rejected"]
HEADER += ["NFE forward", "NFE backward", "gradient error", "floor ms", "x floor"]
STRATEGIES = {"Direct": Direct(), "Replay": Replay(), "Adjoint": Adjoint()}


@dataclass(frozen=True)
class Step:
    """What one training step gives: its gradients, each flat, and what it cost."""

    gradients: tuple[Tensor, ...]
    forward: Counts
    backward: int  # evaluations
    needed: int  # forward evaluations that the answer depends on

    def error(self, exact: Sequence[Tensor]) -> float:
        """The largest relative error of the gradients."""
        pairs = zip(self.gradients, exact, strict=True)
        return max(((mine.double() - g).norm() / g.norm()).item() for mine, g in pairs)


class Case(Protocol):
    """A field, a batch and a loss."""

    rtol: float
    atol: float

    @property
    def params(self) -> tuple[Tensor, ...]:
        """Of the field."""

    @property
    def start(self) -> Tensor:
        """What the field is given at first."""

    def evaluate(self, x: Tensor) -> tuple[Tensor, ...]:
        """All that a solver asks for at one time."""

    def ours(self, solver: Solver) -> Step:
        """With node_runner's solver."""

    def theirs(self, solve: Callable, **options: object) -> Step:
        """With torchdiffeq's odeint or odeint_adjoint."""

    def exact(self) -> tuple[Tensor, ...]:
        """The gradients as they should be, each flat, as float64."""


class Counted:
    """f for torchdiffeq, with its calls counted and the steps that torchdiffeq reports to it."""

    def __init__(self, f: Callable) -> None:
        self.f, self.counts = f, Counts()

    def __call__(self, t: Tensor, y: Any) -> Any:
        self.counts.nfe += 1
        return self.f(t, y)

    def callback_accept_step(self, *step: object) -> None:
        self.counts.accepted += 1

    def callback_reject_step(self, *step: object) -> None:
        self.counts.rejected += 1

    def step(self, gradients: Callable[[], tuple[Tensor, ...]]) -> Step:
        """Run the backward pass, ``gradients``, after the solve."""
        forward = replace(self.counts)
        found = gradients()
        needed = STAGES * forward.accepted + 1
        return Step(found, forward, self.counts.nfe - forward.nfe, needed)


def our_step(gradients: tuple[Tensor, ...], stats: Stats) -> Step:
    forward, backward = stats.forward, stats.backward
    return Step(gradients, forward, backward.nfe, STAGES * forward.accepted)


def flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([g.reshape(-1) for g in gradients])


def contestants(case: Case) -> dict[str, Callable[[], Step]]:
    peer = need("torchdiffeq")
    solvers = {
        name: Solver("dopri5", case.rtol, case.atol, gradient=strategy)
        for name, strategy in STRATEGIES.items()
    }
    adjoint, params = peer.odeint_adjoint, {"adjoint_params": case.params}
    semi = {"adjoint_options": {"norm": "seminorm"}}
    return {
        BACKPROP: lambda: case.theirs(peer.odeint),
        SEMINORM: lambda: case.theirs(adjoint, **params, **semi),
        ADJOINT: lambda: case.theirs(adjoint, **params),
        **{f"node_runner {n}": (lambda s=s: case.ours(s)) for n, s in solvers.items()},
    }


def bare(case: Case, backward: bool) -> None:
    """BARE times the evaluation, with its backward pass into x and the parameters or without.

    With the graph in both, as the forward pass of a backpropagation has it.
    """
    x = case.start.clone().requires_grad_()
    for _ in range(BARE):
        found = case.evaluate(x)
        if backward:
            ones = [torch.ones_like(part) for part in found]
            torch.autograd.grad(found, (x, *case.params), ones)


def floor(step: Step, timings: dict[str, Timing]) -> Timing:
    """The time of the evaluations alone."""
    both = timings[BOTH].times(step.needed / BARE)
    return both.plus(timings[FORWARD].times((step.forward.nfe - step.needed) / BARE))


@dataclass(frozen=True)
class Measured:
    """One contestant on one field: its row, and time and gradient error for the verdict."""

    row: list[str]
    timing: Timing
    error: float


def compare(name: str, case: Case, rounds: int) -> dict[str, Measured]:
    """All contestants on one field, timed in turns."""
    exact = case.exact()
    runs = contestants(case)
    steps = {key: run() for key, run in runs.items()}
    floors = {FORWARD: lambda: bare(case, False), BOTH: lambda: bare(case, True)}
    timings = interleave({**runs, **floors}, rounds)
    found = {}
    for key, step in steps.items():
        timing, least, counts = timings[key], floor(step, timings), step.forward
        ratios = [f"{timing.over(timings[peer]):.3f}" for peer in (BACKPROP, SEMINORM, ADJOINT)]
        numbers = counts.accepted, counts.rejected, counts.nfe, step.backward
        error = step.error(exact)
        above = [f"{1e3 * least.median:.2f}", f"{timing.over(least):.2f}"]
        cells = [name, key, timing.ms, *ratios, *map(str, numbers), f"{error:.1e}", *above]
        found[key] = Measured(cells, timing, error)
    return found


def verdict(
    trained: Sequence[dict[str, Measured]],
    order: int,
    pairs: Sequence[tuple[str, str]] = PAIRS,
) -> list[str]:
    """Geometric means over the trained fields, the gradient's error falling as time^-order."""
    lines = []
    for ours, peer in pairs:
        times = geometric_mean([f[ours].timing.over(f[peer].timing) for f in trained])
        errors = geometric_mean([f[ours].error / f[peer].error for f in trained])
        lines.append(
            f"{ours} over {peer}, {len(trained)} trained fields: time {times:.3f}, gradient error "
            f"{errors:.3f}, time at equal error {times * errors ** (1 / order):.3f}"
        )
    return lines
