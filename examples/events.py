"""Follow a ball through five bounces, and differentiate the time of the last in the drop height.

Each bounce is an event that ends a solve; the next solve starts there with the speed reversed.
"""

import torch

from node_runner.ode import Event, Solver

GRAVITY, RESTITUTION = 9.81, 0.8


def fall(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Height and speed."""
    return torch.stack((y[1], torch.full_like(y[1], -GRAVITY)))


def main(bounces: int = 5) -> tuple[torch.Tensor, float, float]:
    """Times of the bounces, and the derivative of the last by autograd and by the exact formula."""
    height = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    ground = Event(lambda t, y: y[0], direction="down", name="bounce")
    solver = Solver("dopri5", rtol=1e-9, atol=1e-9)
    t, y, times = torch.zeros((), dtype=torch.float64), torch.stack((height, 0 * height)), []
    for _ in range(bounces):
        hit = solver.event(fall, y, t, ground, t_end=100.0)
        t, y = hit.t, torch.stack((0 * hit.state[0], -RESTITUTION * hit.state[1]))
        times.append(t)
    (slope,) = torch.autograd.grad(times[-1], height)
    exact = times[-1].item() / (2 * height.item())  # every time is proportional to sqrt(height)
    return torch.stack(times).detach(), slope.item(), exact


if __name__ == "__main__":
    times, slope, exact = main()
    print("bounces at", [round(t, 4) for t in times.tolist()])
    print(f"d t / d height: {slope:.6f}, exact {exact:.6f}")
