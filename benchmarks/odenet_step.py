"""One training step of the ODE-net block of MNIST: forward, loss and backward, no optimizer.

The field is ConvField(64) on 6 x 6 pixels, batch 128 of real images behind the stem; T = 1; dopri5
at rtol = atol = 1e-3, float32. The loss is the cross-entropy behind the head; the stem has no part
in the step. Compared are the contestants of ``training_step``.

Besides a random field there are ``--seeds`` fields trained for ``--training`` steps as the task
``odenet_mnist`` does, but with Direct and batch 32. The gradient error is the larger of the
relative errors in the field's parameters and in y0, against Kutta's rk4 in steps of 1/128, in
float32. A ReLU that switches bends f, and df/dy jumps there: the error of the gradient falls no
faster than one over the number of evaluations, whatever the method, so that no reference at 1e-10
exists, and time at equal error is time * error ratio. At 1/64, rk4 in float64 and in float32 differ
by 2e-5, and from steps of 1/256 by 2e-3.

The second table is what the graph of the block holds for its backward pass, the parameters left
out, on the first trained field.

    NODE_RUNNER_DATA=... python -m benchmarks.odenet_step
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.harness import begin, bullets, environment, need, parser, report, table
from benchmarks.training_step import (
    HEADER,
    STRATEGIES,
    Counted,
    Measured,
    Step,
    compare,
    flat,
    our_step,
    verdict,
)
from node_runner.data.mnist import MNIST
from node_runner.fields import ConvField
from node_runner.nets import ConvStem, PooledHead
from node_runner.ode import Direct, Replay, Solver
from node_runner.odenet import ODENet
from node_runner.training.memory import saved_bytes

TOL, END, BATCH, TRAINING_BATCH, ORDER = 1e-3, 1.0, 128, 32, 1
TOLERANCES = [10.0**-k for k in range(2, 7)]
KIB = 1024


@dataclass(frozen=True)
class Case:
    """A field, the features of a batch, and what makes a loss of them."""

    rtol: ClassVar[float] = TOL
    atol: ClassVar[float] = TOL
    field: nn.Module
    head: nn.Module
    start: Tensor
    labels: Tensor

    @property
    def params(self) -> tuple[nn.Parameter, ...]:
        return tuple(self.field.parameters())

    def evaluate(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.field(torch.zeros(()), x),)

    def gradients(self, y0: Tensor, y1: Tensor) -> tuple[Tensor, ...]:
        loss = F.cross_entropy(self.head(y1), self.labels)
        of_start, *of_params = torch.autograd.grad(loss, (y0, *self.params))
        return flat(of_params), flat([of_start])

    def ours(self, solver: Solver) -> Step:
        y0 = self.start.clone().requires_grad_()
        solution = solver(self.field, y0, [0.0, END])
        return our_step(self.gradients(y0, solution.final), solution.stats)

    def theirs(self, solve: Callable, **options: object) -> Step:
        f, y0 = Counted(self.field), self.start.clone().requires_grad_()
        ts = torch.tensor([0.0, END])
        ys = solve(f, y0, ts, rtol=TOL, atol=TOL, method="dopri5", **options)
        return f.step(lambda: self.gradients(y0, ys[-1]))

    def exact(self) -> tuple[Tensor, ...]:
        found = self.ours(Solver("rk4", step_size=1 / 128, gradient=Replay())).gradients
        return tuple(g.double() for g in found)


def mnist(seed: int, batch: int) -> MNIST:
    try:
        root = os.environ.get("NODE_RUNNER_DATA", "data")
        return MNIST(seed, torch.device("cpu"), root, batch_size=batch)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from None


class Noise:
    """Random images and labels in place of MNIST, for a smoke round."""

    def train_batch(self, step: int, count: int = 4) -> tuple[Tensor, Tensor]:
        return torch.rand(count, 1, 28, 28), torch.randint(0, 10, (count,))

    def batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.train_batch(0)


def train(model: ODENet, data: MNIST | Noise, steps: int) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for i in range(steps):
        images, labels = data.train_batch(i)
        optimizer.zero_grad()
        F.cross_entropy(model(images).logits, labels).backward()
        optimizer.step()


@torch.no_grad()
def case_of(model: ODENet, images: Tensor, labels: Tensor) -> Case:
    return Case(model.field, model.head, model.stem(images), labels)


def cases(seeds: int, steps: int, smoke: bool = False) -> Iterator[tuple[str, Case]]:
    """Yield the untrained field of the first seed, then the trained one of each."""
    for seed in range(seeds):
        torch.manual_seed(seed)
        solver = Solver("dopri5", TOL, TOL, gradient=Direct())
        model = ODENet(ConvStem(), ConvField(), PooledHead(), solver, END)
        data = Noise() if smoke else mnist(seed, BATCH)
        batch = next(data.batches("validation"))
        batch = batch[0][:BATCH], batch[1][:BATCH]
        if seed == 0:
            yield "untrained", case_of(model, *batch)
        train(model, data if smoke else mnist(seed, TRAINING_BATCH), steps)
        yield f"trained, seed {seed}", case_of(model, *batch)


def held(case: Case, tolerances: Sequence[float]) -> str:
    """Return a table of KiB over tolerances."""
    peer = need("torchdiffeq")
    names = ["steps", *STRATEGIES, "torchdiffeq odeint", "torchdiffeq odeint_adjoint"]
    ts, rows = torch.tensor([0.0, END]), []
    # Not a leaf, just as behind a stem: what a leaf holds is not the graph's.
    y0 = case.start.clone().requires_grad_().clone()
    for tol in tolerances:
        sizes, accepted = [], 0
        for strategy in STRATEGIES.values():
            solution = Solver("dopri5", tol, tol, gradient=strategy)(case.field, y0, [0.0, END])
            accepted = solution.stats.forward.accepted
            sizes.append(saved_bytes(solution.final))
        for solve in (peer.odeint, peer.odeint_adjoint):
            sizes.append(saved_bytes(solve(case.field, y0, ts, rtol=tol, atol=tol)[-1]))
        rows.append([f"{tol:.0e}", str(accepted), *(f"{size / KIB:.0f}" for size in sizes)])
    return table(["tol", *names], rows)


def main() -> None:
    made = parser(__doc__, rounds=True)
    made.set_defaults(rounds=5)
    made.add_argument("--training", type=int, default=300, help="steps of training, default 300")
    made.add_argument("--seeds", type=int, default=3, help="trained fields, default 3")
    args = begin(made)
    need("torchdiffeq")
    fields: list[dict[str, Measured]] = []
    memory = ""
    for name, case in cases(args.seeds, args.training, args.smoke):
        fields.append(compare(name, case, args.rounds))
        if len(fields) == 2:
            memory = held(case, TOLERANCES[:2] if args.smoke else TOLERANCES)
    rows = [measured.row for field in fields for measured in field.values()]
    about = environment("odenet_step", args, ["torch", "torchdiffeq"])
    timed = [table(HEADER, rows), bullets(verdict(fields[1:], ORDER))]
    report("odenet_step", args, [about, *timed, "KiB held for backward", memory])


if __name__ == "__main__":
    main()
