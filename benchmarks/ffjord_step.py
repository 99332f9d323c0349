"""One training step of the toy FFJORD: forward, loss and backward, without the optimizer.

The field is MLP(2), three hidden layers of 64, tanh, concat_squash; batch 512 of eight gaussians;
divergence by one Rademacher probe a sample, the same probes for all; T = 0.5; dopri5 at rtol = atol
= 1e-5, float32. Compared are torchdiffeq's odeint (plain backprop) and odeint_adjoint with the
seminorm and with its default norm, on the state (x, log_det), and node_runner's CNF with Direct,
Replay and Adjoint. All share the field and the pushforward that gives dx and the divergence.

A random field is nearly linear, so besides it there are ``--seeds`` fields trained for
``--training`` steps: Adam 3e-3, exact divergence, Direct, batch 256. All are timed in turns, and
the verdict is a mean over the trained fields, since one field's gradient error is partly luck. The
gradient error is relative, over all parameters, against Direct with dopri8 at 1e-11 in float64.
The floor is bare pushforwards timed in the same rounds: each of the run's forward evaluations once,
and backwards through the six of every accepted step (torchdiffeq, which interpolates its end, needs
the very last one as well). Rejected steps and the probe for the first step have no part in the
gradient.

    python -m benchmarks.ffjord_step
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import geometric_mean

import torch
from torch import Tensor, nn

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
from node_runner.fields import MLP
from node_runner.flow import CNF, Divergence, Exact, pushforward
from node_runner.flow.cnf import log_normal
from node_runner.ode import Adjoint, Counts, Direct, Replay, Solver

TOL, END, BATCH, BARE = 1e-5, 0.5, 512, 20
STAGES = 6  # evaluations of an accepted dopri5 step that its end depends on
BACKPROP, SEMINORM = "torchdiffeq odeint", "torchdiffeq adjoint, seminorm"
FORWARD, BOTH = "bare forward", "bare forward and backward"
HEADER = ["field", "step", "ms", "/ backprop", "/ seminorm", "steps", "rejected"]
HEADER += ["NFE forward", "NFE backward", "gradient error", "floor ms", "x floor"]


@dataclass(frozen=True)
class Fixed:
    """A divergence estimator whose probes are given."""

    signs: Tensor

    def probes(self, x: Tensor) -> Tensor:
        return self.signs.to(x.dtype)


@dataclass(frozen=True)
class Step:
    """What one training step gives: the gradient, flat, and what it cost."""

    gradient: Tensor
    forward: Counts
    backward: int  # evaluations
    needed: int  # forward evaluations that the answer depends on


@dataclass(frozen=True)
class Case:
    """A field, a batch and its probes."""

    field: nn.Module
    x: Tensor
    signs: Tensor

    @property
    def params(self) -> tuple[nn.Parameter, ...]:
        return tuple(self.field.parameters())

    def double(self) -> Case:
        return Case(copy.deepcopy(self.field).double(), self.x.double(), self.signs.double())

    def gradient(self, loss: Tensor) -> Tensor:
        found = torch.autograd.grad(loss, self.params)
        return torch.cat([g.reshape(-1) for g in found])


def eight_gaussians(count: int) -> Tensor:
    """Points near eight centres on a circle of radius 2 sqrt(2), as in FFJORD's toy data."""
    angle = torch.randint(0, 8, (count,)) * (torch.pi / 4)
    centre = 4 * torch.stack((angle.cos(), angle.sin()), dim=1)
    return (centre + 0.5 * torch.randn(count, 2)) / 2**0.5


def train(net: nn.Module, steps: int) -> None:
    """Maximum likelihood, so that the dynamics have become what the data ask for."""
    flow = CNF(net, Solver("dopri5", TOL, TOL), Exact(), end_time=END)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow.log_prob(eight_gaussians(256))[0].mean()).backward()
        optimizer.step()


def ours(case: Case, solver: Solver) -> Step:
    divergence: Divergence = Fixed(case.signs)
    log_prob, transport = CNF(case.field, solver, divergence, end_time=END).log_prob(case.x)
    gradient = case.gradient(-log_prob.mean())
    forward, backward = transport.stats.forward, transport.stats.backward
    return Step(gradient, forward, backward.nfe, STAGES * forward.accepted)


def theirs(case: Case, solve: Callable, **options: object) -> Step:
    counts = Counts()

    def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        counts.nfe += 1
        dx, _, div = pushforward(case.field, t, state[0], case.signs)
        return dx, div

    def accept(*step: object) -> None:
        counts.accepted += 1

    def reject(*step: object) -> None:
        counts.rejected += 1

    rates.callback_accept_step, rates.callback_reject_step = accept, reject
    start = case.x, case.x.new_zeros(len(case.x))
    ts = torch.tensor([0.0, END])
    z, log_det = solve(rates, start, ts, rtol=TOL, atol=TOL, method="dopri5", **options)
    forward = replace(counts)
    gradient = case.gradient(-(log_normal(z[-1]) + log_det[-1]).mean())
    return Step(gradient, forward, counts.nfe - forward.nfe, STAGES * forward.accepted + 1)


def contestants(case: Case) -> dict[str, Callable[[], Step]]:
    peer = need("torchdiffeq")
    solvers = {
        name: Solver("dopri5", TOL, TOL, gradient=strategy)
        for name, strategy in (("Direct", Direct()), ("Replay", Replay()), ("Adjoint", Adjoint()))
    }
    adjoint, params = peer.odeint_adjoint, {"adjoint_params": case.params}
    semi = {"adjoint_options": {"norm": "seminorm"}}
    return {
        BACKPROP: lambda: theirs(case, peer.odeint),
        SEMINORM: lambda: theirs(case, adjoint, **params, **semi),
        "torchdiffeq adjoint": lambda: theirs(case, adjoint, **params),
        **{f"node_runner {n}": (lambda s=s: ours(case, s)) for n, s in solvers.items()},
    }


def bare(case: Case, backward: bool) -> None:
    """BARE times the pushforward, with its backward pass into x and the parameters or without."""
    x, t = case.x.clone().requires_grad_(), torch.zeros(())
    ones = torch.ones_like(x), torch.ones(len(x))
    for _ in range(BARE):
        dx, _, div = pushforward(case.field, t, x, case.signs)
        if backward:
            torch.autograd.grad((dx, div), (x, *case.params), ones)


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
    exact = ours(case.double(), Solver("dopri8", 1e-11, 1e-11)).gradient
    runs = contestants(case)
    steps = {key: run() for key, run in runs.items()}
    floors = {FORWARD: lambda: bare(case, False), BOTH: lambda: bare(case, True)}
    timings = interleave({**runs, **floors}, rounds)
    found = {}
    for key, step in steps.items():
        timing, least, counts = timings[key], floor(step, timings), step.forward
        ratios = [f"{timing.over(timings[peer]):.3f}" for peer in (BACKPROP, SEMINORM)]
        numbers = counts.accepted, counts.rejected, counts.nfe, step.backward
        error = ((step.gradient.double() - exact).norm() / exact.norm()).item()
        above = [f"{1e3 * least.median:.2f}", f"{timing.over(least):.2f}"]
        cells = [name, key, timing.ms, *ratios, *map(str, numbers), f"{error:.1e}", *above]
        found[key] = Measured(cells, timing, error)
    return found


def verdict(trained: list[dict[str, Measured]]) -> list[str]:
    """Geometric means over the trained fields, dopri5's error falling as time^-5."""
    lines = []
    for ours, peer in (("node_runner Direct", BACKPROP), ("node_runner Adjoint", SEMINORM)):
        times = geometric_mean([f[ours].timing.over(f[peer].timing) for f in trained])
        errors = geometric_mean([f[ours].error / f[peer].error for f in trained])
        lines.append(
            f"{ours} over {peer}, {len(trained)} trained fields: time {times:.3f}, gradient error "
            f"{errors:.3f}, time at equal error {times * errors**0.2:.3f}"
        )
    return lines


def main() -> None:
    made = parser(__doc__, rounds=True)
    made.add_argument("--training", type=int, default=300, help="steps of training, default 300")
    made.add_argument("--seeds", type=int, default=3, help="trained fields, default 3")
    args = begin(made)
    need("torchdiffeq")
    fields = []
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        net, x = MLP(2), eight_gaussians(BATCH)
        case = Case(net, x, 2.0 * torch.randint(0, 2, (1, *x.shape)) - 1)
        if seed == 0:
            fields.append(compare("untrained", case, args.rounds))
        train(net, args.training)
        fields.append(compare(f"trained, seed {seed}", case, args.rounds))
    rows = [measured.row for field in fields for measured in field.values()]
    about = environment("ffjord_step", args, ["torch", "torchdiffeq"])
    report("ffjord_step", args, [about, table(HEADER, rows), bullets(verdict(fields[1:]))])


if __name__ == "__main__":
    main()
