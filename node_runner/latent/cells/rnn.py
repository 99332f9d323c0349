"""A recurrent net whose state is constant between observations."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...data.series import Series
from .protocol import Reading, SolveStats, features


class RNN(nn.Module):
    """h_k = GRU([x_k, m_k, t_k - t_(k-1)], h_(k-1)), m the mask. The gap is one more input (RNN
    with Delta t in Rubanova et al. 2019), or left out.

    Args:
        dim: D, number of features.
        size: H, number of hidden units.
        gaps: Whether the time since the previous observation is an input.
        kind: "gru", or "tanh" for the plain RNN of Chen et al. 2018.

    Example:
        >>> RNN(2, 5).evolve(torch.zeros(3, 5), torch.rand(3))[0].shape
        torch.Size([3, 5])
    """

    def __init__(
        self, dim: int, size: int = 20, gaps: bool = True, kind: Literal["gru", "tanh"] = "gru"
    ) -> None:
        super().__init__()
        net = nn.GRU if kind == "gru" else nn.RNN
        self.hidden_size, self.gaps = size, gaps
        self.net = net(2 * dim + gaps, size, batch_first=True)

    def read(self, series: Series) -> Reading:
        inputs = features(series.values, series.mask, series.gaps if self.gaps else None)
        states, _ = self.net(inputs)
        return Reading(torch.cat((torch.zeros_like(states[:, :1]), states), dim=1))

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, SolveStats]:
        return h, ()

    def update(self, h: Tensor, x: Tensor, gap: Tensor) -> Tensor:
        inputs = features(x, gap=gap if self.gaps else None)
        return self.net(inputs[:, None], h[None])[1][0]
