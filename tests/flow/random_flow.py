"""A flow of random weights for the tests of continuous normalizing flows."""

from __future__ import annotations

import torch
from torch import nn

from node_runner.fields import MLP
from node_runner.flow import CNF, Exact
from node_runner.ode import Solver


class Folded(nn.Module):
    """An MLP on images."""

    def __init__(self, event):
        super().__init__()
        self.net = MLP(torch.Size(event).numel(), (8,))

    def forward(self, t, x):
        return self.net(t, x.flatten(1)).view(x.shape)


def make_flow(event=(2,), divergence=None, tol=1e-11, gradient=None, method="dopri8", **options):
    """A flow of random weights, enlarged so that it bends what passes through it."""
    field = Folded(event).double()
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(3)
    solver = Solver(method, rtol=tol, atol=tol, gradient=gradient)
    return CNF(field, solver, divergence or Exact(), **options)
