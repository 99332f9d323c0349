"""Stems and heads of the MNIST nets, before and after the ODE or the residual blocks (Chen et al.
2018, section 3).
"""

from __future__ import annotations

from torch import Tensor, nn

from .norm import group_norm
from .residual import ResidualBlock


class ConvStem(nn.Sequential):
    """Images (B, 1, 28, 28) to features (B, C, 6, 6) by three convolutions, two of stride 2."""

    def __init__(self, channels: int = 64) -> None:
        norms = group_norm(channels), group_norm(channels)  # first: they refuse bad channels
        super().__init__(
            nn.Conv2d(1, channels, 3),
            norms[0],
            nn.ReLU(),
            nn.Conv2d(channels, channels, 4, stride=2, padding=1),
            norms[1],
            nn.ReLU(),
            nn.Conv2d(channels, channels, 4, stride=2, padding=1),
        )


class ResStem(nn.Sequential):
    """Images (B, 1, 28, 28) to features (B, C, 7, 7) by a convolution and two residual blocks of
    stride 2.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__(
            nn.Conv2d(1, channels, 3),
            ResidualBlock(channels, stride=2),
            ResidualBlock(channels, stride=2),
        )


class PooledHead(nn.Module):
    """Features (B, C, H, W) to logits (B, classes): norm - ReLU - mean over pixels - linear."""

    def __init__(self, channels: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x).relu().mean((2, 3)))
