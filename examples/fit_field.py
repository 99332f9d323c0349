"""Learn a vector field from one observed trajectory: a spiral, as in the Neural ODE paper.

Training solves short segments that start at observations, which is easier than the whole path.
"""

import torch

from node_runner.ode import Solver

MATRIX = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])


def main(steps: int = 300) -> tuple[float, float]:
    """Mean distance of predicted from true points, before and after training."""
    torch.manual_seed(0)
    times = torch.linspace(0.0, 5.0, 101)
    solver = Solver("dopri5", rtol=1e-5, atol=1e-5)
    start = torch.tensor([2.0, 0.0])
    path = solver(lambda t, y: y @ MATRIX.T, start, times).ys
    net = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))

    def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return net(y)

    def error() -> float:
        with torch.no_grad():
            return (solver(field, start, times).ys - path).norm(dim=1).mean().item()

    before, optimizer = error(), torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        first = torch.randint(0, 91, (32,))
        predicted = solver(field, path[first], times[:11]).ys  # (11, 32, 2)
        target = path[first + torch.arange(11)[:, None]]
        loss = (predicted - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return before, error()


if __name__ == "__main__":
    print("mean distance from the spiral: {:.3f} before training, {:.3f} after".format(*main()))
