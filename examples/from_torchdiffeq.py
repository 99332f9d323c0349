"""Move code from torchdiffeq: only the import changes. Then use what torchdiffeq does not have."""

import torch

from node_runner import odeint, odeint_adjoint  # was: from torchdiffeq import ...
from node_runner.ode import Replay, Solver


class Pendulum(torch.nn.Module):
    """Angle and angular velocity, with a learnable damping."""

    def __init__(self) -> None:
        super().__init__()
        self.damping = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        angle, speed = y.unbind(-1)
        return torch.stack((speed, -torch.sin(angle) - self.damping * speed), dim=-1)


def main() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The end state and the gradient in the damping, three ways."""
    f, y0 = Pendulum(), torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    t = torch.linspace(0.0, 4.0, 9, dtype=torch.float64)
    tolerances = {"rtol": 1e-8, "atol": 1e-8}
    ends = {
        "odeint": odeint(f, y0, t, method="dopri5", **tolerances)[-1],
        "odeint_adjoint": odeint_adjoint(f, y0, t, method="dopri5", **tolerances)[-1],
        # The memory of one state per step, and the gradient of backpropagation.
        "Solver": Solver("dopri5", **tolerances, gradient=Replay())(f, y0, t).final,
    }
    grads = {name: torch.autograd.grad(end.sum(), f.damping)[0] for name, end in ends.items()}
    return {name: (ends[name].detach(), grads[name]) for name in ends}


if __name__ == "__main__":
    for name, (end, gradient) in main().items():
        print(f"{name:15} end {end.tolist()}  d/d damping {gradient.item():.6f}")
