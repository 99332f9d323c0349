"""Solve Robertson's reaction, whose rates span nine orders of magnitude, by an implicit method, and
differentiate its end in the rate constants.
"""

import torch

from node_runner.ode import Solver, SolverError


def main(end: float = 1e4) -> tuple[torch.Tensor, torch.Tensor, int, str]:
    """Concentrations at the end, gradient of the last in the rates, steps, and dopri5's error."""
    rates = torch.tensor([0.04, 3e7, 1e4], dtype=torch.float64, requires_grad=True)

    def reaction(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        a, b, c = y.unbind(-1)
        first, second, third = rates[0] * a, rates[1] * b * b, rates[2] * b * c
        return torch.stack((third - first, first - second - third, second), dim=-1)

    start = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    solver = Solver("kvaerno5", rtol=1e-7, atol=1e-10)
    solution = solver(reaction, start, [0.0, end])
    (slope,) = torch.autograd.grad(solution.final[0, 2], rates)
    try:
        Solver("dopri5", rtol=1e-7, atol=1e-10, max_steps=500)(reaction, start, [0.0, end])
        failure = ""
    except SolverError as error:
        failure = str(error)
    return solution.final[0].detach(), slope, solution.stats.forward.accepted, failure


if __name__ == "__main__":
    final, slope, steps, failure = main()
    print(f"kvaerno5: {final.tolist()} in {steps} steps; gradient {slope.tolist()}")
    print(f"dopri5: {failure}")
