"""Fit a continuous normalizing flow to points on a ring, with a training loop written by hand."""

from math import pi

import torch

from node_runner.fields import MLP
from node_runner.flow import CNF, Exact
from node_runner.ode import Solver


def ring(n: int) -> torch.Tensor:
    """Points near a circle of radius 2."""
    angle = 2 * pi * torch.rand(n)
    return 2 * torch.stack((angle.cos(), angle.sin()), dim=1) + 0.2 * torch.randn(n, 2)


def main(steps: int = 60) -> tuple[float, float, float]:
    """Test log-likelihood before and after training, and the integral of the learned density."""
    torch.manual_seed(0)
    field = MLP(dim=2, hidden=[32], activation="tanh", layer="concat_squash")
    flow = CNF(field, Solver("dopri5", rtol=1e-3, atol=1e-3), Exact())
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.02)
    test = ring(1000)
    with torch.no_grad():
        before = flow.log_prob(test).mean().item()
    for _ in range(steps):
        log_prob = flow.log_prob(ring(128))
        optimizer.zero_grad()
        (-log_prob.mean()).backward()
        optimizer.step()
    axis = torch.linspace(-5.0, 5.0, 51)
    with torch.no_grad():
        after = flow.log_prob(test).mean().item()
        density = flow.log_prob(torch.cartesian_prod(axis, axis)).exp()
    return before, after, density.sum().item() * 0.2**2


if __name__ == "__main__":
    before, after, integral = main()
    print(f"log-likelihood {before:.3f} before, {after:.3f} after; integral {integral:.4f}")
