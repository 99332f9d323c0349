"""Latent states that a recurrent net advances from time to time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..cells.protocol import SolveStats


class RNNDynamics(nn.Module):
    """z(t_k) = GRU(t_k - t_(k-1), z(t_(k-1))): the decoder of an RNN-VAE (Rubanova et al. 2019).

    Args:
        latent: L, size of the latent state.

    Example:
        >>> RNNDynamics(3)(torch.zeros(4, 2, 3), torch.ones(4, 7))[0].shape
        torch.Size([4, 7, 2, 3])
    """

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.net = nn.GRU(1, latent, batch_first=True)

    def forward(self, z0: Tensor, times: Tensor) -> tuple[Tensor, SolveStats]:
        (b, t), (s, size) = times.shape, z0.shape[1:]
        gaps = times.diff(dim=1, prepend=torch.zeros_like(times[:, :1]))
        inputs = gaps[:, None, :, None].expand(b, s, t, 1).reshape(b * s, t, 1)
        states, _ = self.net(inputs, z0.reshape(1, b * s, size))
        return states.view(b, s, t, size).transpose(1, 2), ()
