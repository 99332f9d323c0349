"""Where a problem really ends, by a solver that is neither ours nor the peer's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import need
from benchmarks.problems import Problem


def endpoint(problem: Problem, y0: Tensor, tol: float = 1e-12) -> Tensor:
    """y(end) from y0 in float64: SciPy's DOP853 at rtol = atol = tol on the flattened batch."""
    integrate = need("scipy.integrate", extra="test")
    shape = y0.shape

    def f(t: float, y: np.ndarray) -> np.ndarray:
        time = torch.tensor(t, dtype=torch.float64)
        return problem.f(time, torch.from_numpy(y).view(shape)).reshape(-1).numpy()

    start = y0.double().reshape(-1).numpy()
    found = integrate.solve_ivp(f, (0.0, problem.end), start, "DOP853", rtol=tol, atol=tol)
    if not found.success:
        raise RuntimeError(f"no reference for {problem.name}: {found.message}")
    return torch.from_numpy(found.y[:, -1].copy()).view(shape)


def rms(error: Tensor) -> float:
    """Root mean square over the batch and the components."""
    return error.square().mean().sqrt().item()
