"""Initial value problems whose right sides were trained: a flow and an ODE-net, in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.ffjord_step import END as FLOW_END
from benchmarks.ffjord_step import eight_gaussians
from benchmarks.ffjord_step import train as train_flow
from benchmarks.odenet_step import BATCH, END, TOL, TRAINING_BATCH, Noise, mnist
from benchmarks.odenet_step import train as train_net
from benchmarks.problems import Problem
from node_runner.fields import MLP, ConvField
from node_runner.flow import Exact, divergence_and_vjps
from node_runner.nets import ConvStem, PooledHead
from node_runner.ode import Direct, Solver
from node_runner.odenet import ODENet


def flow(steps: int, batch: int = 1) -> Problem:
    """log p of eight gaussians by the net of benchmarks/ffjord_step.py, trained as there: x and
    the integral of the divergence, (B, 3).
    """
    torch.manual_seed(0)
    net, x = MLP(2), eight_gaussians(batch)
    train_flow(net, steps)
    net.double().requires_grad_(False)

    def f(t: Tensor, y: Tensor) -> Tensor:
        dx, _, div = divergence_and_vjps(net, t, y[:, :2], Exact().probes(y[:, :2]))
        return torch.cat((dx, div[:, None]), dim=1)

    return Problem("trained flow", f, torch.cat((x, x.new_zeros(batch, 1)), 1).double(), FLOW_END)


def odenet(steps: int, batch: int = 1, smoke: bool = False) -> Problem:
    """The block of the MNIST ODE-net of benchmarks/odenet_step.py, trained as there, behind the
    stem: (B, 64, 6, 6).
    """
    torch.manual_seed(0)
    solver = Solver("dopri5", TOL, TOL, gradient=Direct())
    model = ODENet(ConvStem(), ConvField(), PooledHead(), solver, END)
    train_net(model, Noise() if smoke else mnist(0, TRAINING_BATCH), steps)
    images, _ = next((Noise() if smoke else mnist(0, BATCH)).batches("validation"))
    model.double().requires_grad_(False)
    return Problem("trained ODE-net", model.field, model.stem(images[:batch].double()), END)
