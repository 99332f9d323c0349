"""One training step of the multiscale image flows: time, and what is held for the backward pass.

FFJORD's nets for MNIST and CIFAR-10 (64-64-64 channels, softplus, two CNFs and two more behind each
squeeze), untrained; uniform noise for images, batch 4; one Rademacher probe; dopri5, float32.
node_runner with Replay, Adjoint and Direct, and FFJORD's way: each CNF by torchdiffeq's
odeint_adjoint. Held is what the graph keeps when the loss is known, parameters apart, as a run logs
it (``saved_bytes``), at two tolerances; beside it the bytes of one state a step, which is all that
Replay may add.

    python -m benchmarks.image_step
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import begin, environment, interleave, need, parser, report, table
from benchmarks.memory import KIB
from node_runner.fields import ConvNet
from node_runner.flow import CNF, Flow, Rademacher, Transport, divergence_and_vjps, multiscale
from node_runner.ode import Adjoint, Counts, Direct, Replay, Solver, Stats
from node_runner.training.memory import saved_bytes

SHAPES = {"MNIST": (1, 28, 28), "CIFAR-10": (3, 32, 32)}
TOLERANCES, BATCH = (1e-3, 1e-5), 4
PEER = "torchdiffeq adjoint"
GRADIENTS = {"Replay": Replay(), "Adjoint": Adjoint(), "Direct": Direct()}
TIMED = 1e-3  # the tolerance at which steps are timed


class PeerCNF(CNF):
    """A CNF whose transport is solved by torchdiffeq's adjoint, as FFJORD's code does."""

    def transport(self, x: Tensor, t0: float = 0.0, t1: float | None = None) -> Transport:
        probes, calls = self.divergence.probes(x), Counts()

        def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            calls.nfe += 1
            dx, _, div = divergence_and_vjps(self.field, t, state[0], probes)
            return dx, div

        z, log_det = need("torchdiffeq").odeint_adjoint(
            rates,
            (x, x.new_zeros(len(x))),
            torch.tensor([0.0, self.end_time]),
            rtol=self.solver.rtol,
            atol=self.solver.atol,
            method="dopri5",
            adjoint_params=tuple(self.field.parameters()),
        )
        return Transport(z[-1], log_det[-1], {}, (Stats(forward=calls),))


def flow_of(shape: tuple[int, int, int], tol: float, gradient: str) -> Flow:
    """The same weights for all."""
    torch.manual_seed(0)
    kind = PeerCNF if gradient == PEER else CNF
    solver = Solver("dopri5", tol, tol, gradient=GRADIENTS.get(gradient))
    return multiscale(partial(kind, solver=solver, divergence=Rademacher()), ConvNet, shape)


def loss_of(flow: Flow, x: Tensor) -> tuple[Tensor, Transport]:
    torch.manual_seed(1)  # the same probes for all
    transport = flow.transport(x)
    log_prob = transport.log_prob
    return -log_prob.mean(), transport


def step(flow: Flow, x: Tensor) -> None:
    torch.autograd.grad(loss_of(flow, x)[0], tuple(flow.parameters()))


def sizes(name: str, x: Tensor) -> list[list[str]]:
    """Return a row for each gradient and tolerance."""
    found = []
    for gradient in (*GRADIENTS, PEER):
        for tol in TOLERANCES:
            loss, transport = loss_of(flow_of(tuple(x.shape[1:]), tol, gradient), x)
            kept = saved_bytes(loss)
            stats = transport.stats.forward
            # The flows of a scale work on what is left of the image: at most all of it.
            states = stats.accepted * (x.nbytes + 4 * len(x)) / KIB if stats.accepted else None
            most = "" if states is None else f"{states:.0f}"
            cells = [str(stats.accepted or ""), str(stats.nfe), f"{kept / KIB:.0f}", most]
            found.append([name, gradient, f"{tol:.0e}", *cells])
    return found


def times(name: str, x: Tensor, rounds: int) -> list[list[str]]:
    shape = tuple(x.shape[1:])
    flows = {gradient: flow_of(shape, TIMED, gradient) for gradient in (*GRADIENTS, PEER)}
    runs: dict[str, Callable] = {key: partial(step, flow, x) for key, flow in flows.items()}
    timings = interleave(runs, rounds)
    return [
        [name, key, timing.ms, f"{timing.over(timings[PEER]):.3f}"]
        for key, timing in timings.items()
    ]


def main() -> None:
    made = parser(__doc__, rounds=True)
    args = begin(made)
    need("torchdiffeq")
    timed, kept = [], []
    for name, shape in ({"8 x 8": (1, 8, 8)} if args.smoke else SHAPES).items():
        x = torch.rand(BATCH, *shape, generator=torch.Generator().manual_seed(0))
        timed += times(name, x, args.rounds)
        kept += sizes(name, x)
    about = environment("image_step", args, ["torch", "torchdiffeq"])
    header = ["flow", "gradient", "tol", "steps", "NFE", "KiB held", "KiB of a state a step"]
    first = table(["flow", "gradient", "ms", f"/ {PEER}"], timed)
    report("image_step", args, [about, f"at tolerance {TIMED:g}", first, table(header, kept)])


if __name__ == "__main__":
    main()
