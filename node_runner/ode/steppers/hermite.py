"""Cubic Hermite interpolation inside a step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..tableau import Row


def combined(y: Tensor | None, k: Sequence[Tensor], weights: Row, dt: float) -> Tensor:
    """y + dt sum_i w_i k_i in a new tensor (y itself if all weights are zero); the sum alone
    without y.
    """
    for w, rate in zip(weights, k, strict=False):
        if w:
            y = rate * (w * dt) if y is None else torch.add(y, rate, alpha=w * dt)
    return y


class Hermite:
    """The cubic with the values y0, y1 and slopes k0, k1 at the ends of a step, plus dt theta^2 (1
    - theta)^2 bump, which leaves them as they are (Hairer, Norsett, Wanner, Solving ODEs I, II.6).

    Args:
        t0, t1: ends of the step.
        y0, y1, k0, k1: states and rates there, shape (width,).
        bump: shape (width,), an estimate of dt^3 y'''' / 24; None for the cubic.
    """

    def __init__(
        self,
        t0: float,
        t1: float,
        y0: Tensor,
        y1: Tensor,
        k0: Tensor,
        k1: Tensor,
        bump: Tensor | None = None,
    ) -> None:
        self.t0, self.dt, self.y0 = t0, t1 - t0, y0
        self.terms = torch.stack([(y1 - y0) / self.dt, k0, k1, *([] if bump is None else [bump])])

    def kept(self) -> Hermite:
        return self

    def at(self, times: list[float]) -> Tensor:
        """The values at times in [t0, t1], shape (len(times), width), with their graph."""
        theta = [(t - self.t0) / self.dt for t in times]
        return self._at(torch.tensor(theta, dtype=self.y0.dtype, device=self.y0.device))

    def at_tensor(self, t: Tensor) -> Tensor:
        """The same at t, shape (T,), differentiable in t too."""
        return self._at(((t - self.t0) / self.dt).to(self.y0.dtype))

    @torch.no_grad()
    def slope(self, t: float) -> Tensor:
        """The derivative at t, shape (width,), without graph."""
        x = (t - self.t0) / self.dt
        weights = [6 * x * (1 - x), (1 - x) * (1 - 3 * x), x * (3 * x - 2)]
        weights.append(2 * x * (1 - x) * (1 - 2 * x))
        return combined(None, self.terms.detach(), tuple(weights), 1.0)

    def _at(self, x: Tensor) -> Tensor:
        weights = [x * x * (3 - 2 * x), x * (1 - x) ** 2, x * x * (x - 1), x * x * (1 - x) ** 2]
        weights = torch.stack(weights[: len(self.terms)], dim=-1)
        return torch.addmm(self.y0, weights, self.terms, alpha=self.dt)
