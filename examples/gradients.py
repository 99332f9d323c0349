"""Differentiate the end of a damped oscillation in its start and in its parameters, by all three
gradient strategies, which agree within the tolerance.
"""

import torch

from node_runner.ode import Adjoint, Direct, Replay, Solver


def sensitivities(strategy: Direct | Replay | Adjoint) -> tuple[torch.Tensor, ...]:
    """Gradients of the end in (position, speed) at the start and in (damping, stiffness)."""
    start = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    physics = torch.tensor([0.2, 4.0], dtype=torch.float64, requires_grad=True)

    def oscillator(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        damping, stiffness = physics
        return torch.stack((y[1], -damping * y[1] - stiffness * y[0]))

    solver = Solver("dopri5", rtol=1e-9, atol=1e-9, gradient=strategy)
    solution = solver(oscillator, start, [0.0, 3.0], params=[physics])
    return torch.autograd.grad(solution.final[0], (start, physics))


def main() -> dict[str, tuple[torch.Tensor, ...]]:
    return {type(s).__name__: sensitivities(s) for s in (Direct(), Replay(), Adjoint())}


if __name__ == "__main__":
    for name, (by_start, by_physics) in main().items():
        print(f"{name:8} start {by_start.tolist()}  physics {by_physics.tolist()}")
