"""The continuous counterpart of planar flows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Planar(nn.Module):
    """f(t, x) = 1/M sum_n s_n(t) u_n(t) tanh(w_n(t) . x + b_n(t)) (Chen et al. 2018, equation (10)
    with its gates).

    A hypernetwork t -> 32 -> 32 with tanh gives w, b, u and the gates s, one sigmoid an entry of u,
    as in the authors' released example, whose mean over units is taken here too.

    Args:
        dim: D, of x and of f.
        width: M, units.
        hypernet: units in each of its hidden layers.

    Raises:
        ValueError: for a size below 1.
    """

    def __init__(self, dim: int = 2, width: int = 64, hypernet: int = 32) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("width", width), ("hypernet", hypernet)):
            if value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
        self.shape, self.width = (dim,), width
        self.net = nn.Sequential(
            nn.Linear(1, hypernet),
            nn.Tanh(),
            nn.Linear(hypernet, hypernet),
            nn.Tanh(),
            nn.Linear(hypernet, width * (3 * dim + 1)),
        )

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, dim). Returns dx/dt, (B, dim)."""
        m, d = self.width, x.shape[1]
        values = self.net(t.view(-1, 1))  # one row for all samples, or one a sample
        w, u, gate, b = values.split((m * d, m * d, m * d, m), dim=1)
        w, u = w.view(-1, m, d), (u * torch.sigmoid(gate)).view(-1, m, d)
        units = torch.tanh((x[:, None] * w).sum(2) + b)
        return (units[:, :, None] * u).mean(1)
