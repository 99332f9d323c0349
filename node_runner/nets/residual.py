"""Residual blocks, and the network of them in which an ODE-net puts an ODE."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .norm import group_norm


class ResidualBlock(nn.Module):
    """x + g(x), g = norm - ReLU - conv - norm - ReLU - conv on (B, C, H, W), the convolutions
    without bias (He et al. 2016, arXiv:1603.05027).

    With a stride the shortcut is a 1x1 convolution of the activated input relu(norm(x)), not of x,
    as in the released example of Chen et al. 2018.

    Args:
        channels: C.
        stride: of the first convolution and the shortcut; a height of H becomes ceil(H / stride).
    """

    def __init__(self, channels: int = 64, stride: int = 1) -> None:
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.norm2 = group_norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels, channels, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        return shortcut + self.conv2(F.relu(self.norm2(self.conv1(active))))


class ResNet(nn.Sequential):
    """logits = head(y_n), y_i+1 = y_i + g_i(y_i), y_0 = stem(image) (Chen et al. 2018, section 3).

    Args:
        stem: images (B, 1, H, W) to features (B, C, H', W').
        head: features to logits (B, classes).
        channels: C.
        blocks: n.
    """

    def __init__(
        self, stem: nn.Module, head: nn.Module, channels: int = 64, blocks: int = 6
    ) -> None:
        if blocks < 0:
            raise ValueError(f"blocks is {blocks}, must be at least 0")
        super().__init__(stem, *(ResidualBlock(channels) for _ in range(blocks)), head)
