"""One training step of a MINIBOONE-sized FFJORD: forward, loss and backward, without the optimizer.

The field is 43-860-860-43, softplus, concat_squash; batch 1000 of standard normal rows mixed by a
fixed random matrix, so that columns depend on each other as those of a table do; divergence by one
Rademacher probe a sample; T = 1; dopri5 at FFJORD's rtol = 1e-6 and atol = 1e-8, float32. The
gradient error is against dopri8 at 1e-9 in float64, which is enough and is what takes longest.
Contestants, columns and floor are those of ``training_step``. Besides the untrained field there is
one trained for ``--training`` steps of 200 rows (Adam 1e-3, tolerance 1e-4). The last lines compare
with FFJORD's way, torchdiffeq's odeint_adjoint with its default norm, and give what RNODE's two
terms add to a step.

    python -m benchmarks.tabular_step
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from benchmarks.flow_case import FlowCase, signs
from benchmarks.harness import (
    begin,
    bullets,
    environment,
    interleave,
    need,
    parser,
    report,
    table,
)
from benchmarks.training_step import ADJOINT, HEADER, compare, verdict
from node_runner.fields import MLP
from node_runner.flow import CNF, Rademacher
from node_runner.flow.regularizers import Jacobian, Kinetic
from node_runner.ode import Adjoint, Direct, Solver

RTOL, ATOL, END, BATCH, DIM, WIDTH, ORDER = 1e-6, 1e-8, 1.0, 1000, 43, 860, 5
RNODE = {"kinetic": Kinetic(), "jacobian": Jacobian()}
OURS = ("node_runner Direct", "node_runner Replay", "node_runner Adjoint")


def rows(count: int) -> Tensor:
    """Correlated rows of unit variance, with a fold in half of the columns."""
    mix = torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(1)) / DIM**0.5
    x = torch.randn(count, DIM) @ mix
    x[:, ::2] = x[:, ::2].abs() - 0.8
    return x


def train(net: nn.Module, steps: int) -> None:
    flow = CNF(net, Solver("dopri5", 1e-4, 1e-4), Rademacher(), end_time=END)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (-flow.log_prob(rows(200)).mean()).backward()
        optimizer.step()


def cost_of_rnode(case: FlowCase, rounds: int) -> list[str]:
    """What RNODE's terms add, with Direct and with Adjoint."""
    costly, lines = dataclasses.replace(case, regularizers=RNODE), []
    for gradient in (Direct(), Adjoint()):
        solver = Solver("dopri5", RTOL, ATOL, gradient=gradient)
        runs = {
            "with": lambda s=solver: costly.ours(s),
            "without": lambda s=solver: case.ours(s),
        }
        timings = interleave(runs, rounds)
        ratio = timings["with"].over(timings["without"])
        lines.append(f"RNODE's terms, {type(gradient).__name__}: {ratio:.3f} of a step without")
    return lines


def main() -> None:
    made = parser(__doc__, rounds=True)
    made.add_argument("--training", type=int, default=150, help="steps of training, default 150")
    args = begin(made)
    need("torchdiffeq")
    torch.manual_seed(0)
    width, batch = (16, 20) if args.smoke else (WIDTH, BATCH)
    net, x = MLP(DIM, (width, width), "softplus"), rows(batch)
    case = FlowCase(net, x, signs(x), RTOL, ATOL, END, finest=1e-9)
    fields = [compare("untrained", case, args.rounds)]
    train(net, args.training)
    fields.append(compare("trained", case, args.rounds))
    cells = [measured.row for field in fields for measured in field.values()]
    lines = verdict(fields[1:], ORDER, [(ours, ADJOINT) for ours in OURS])
    lines += cost_of_rnode(case, args.rounds)
    about = environment("tabular_step", args, ["torch", "torchdiffeq"])
    report("tabular_step", args, [about, table(HEADER, cells), bullets(lines)])


if __name__ == "__main__":
    main()
