"""One training step of the toy FFJORD: forward, loss and backward, without the optimizer.

The field is MLP(2), three hidden layers of 64, tanh, concat_squash; batch 512 of eight gaussians;
divergence by one Rademacher probe a sample, the same probes for all; T = 0.5; dopri5 at rtol = atol
= 1e-5, float32. Compared are the contestants of ``training_step``: torchdiffeq on the state (x,
log_det), node_runner's CNF. All share the field and the divergence_and_vjps that gives dx and the
divergence, which is also the evaluation of the floor.

A random field is nearly linear, so besides it there are ``--seeds`` fields trained for
``--training`` steps: Adam 3e-3, exact divergence, Direct, batch 256. The verdict is a mean over the
trained fields, since one field's gradient error is partly luck. The gradient error is relative,
over all parameters, against Direct with dopri8 at 1e-11 in float64.

    python -m benchmarks.ffjord_step
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.flow_case import FlowCase, signs
from benchmarks.harness import begin, bullets, environment, need, parser, report, table
from benchmarks.training_step import HEADER, compare, verdict
from node_runner.fields import MLP
from node_runner.flow import CNF, Exact
from node_runner.ode import Solver

TOL, END, BATCH, ORDER = 1e-5, 0.5, 512, 5


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
        (-flow.log_prob(eight_gaussians(256)).mean()).backward()
        optimizer.step()


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
        case = FlowCase(net, x, signs(x), TOL, TOL, END)
        if seed == 0:
            fields.append(compare("untrained", case, args.rounds))
        train(net, args.training)
        fields.append(compare(f"trained, seed {seed}", case, args.rounds))
    rows = [measured.row for field in fields for measured in field.values()]
    about = environment("ffjord_step", args, ["torch", "torchdiffeq"])
    report("ffjord_step", args, [about, table(HEADER, rows), bullets(verdict(fields[1:], ORDER))])


if __name__ == "__main__":
    main()
