"""The dynamics of the MNIST ODE-net."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConcatConv(nn.Module):
    """3x3 convolution of [t, x], time as one more constant channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels + 1, channels, 3, padding=1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, C, H, W). Returns (B, C, H, W)."""
        time = t.view(-1, 1, 1, 1).expand(x.shape[0], 1, *x.shape[2:])
        return self.conv(torch.cat((time, x), dim=1))


class ConvField(nn.Module):
    """norm - ReLU - conv - norm - ReLU - conv - norm on (B, C, H, W), both convolutions with time
    as a channel.

    The ODE function of Chen et al. 2018, section 3, as in the authors' released example. Group
    normalisation with min(32, C) groups: batch statistics would tie f to the rest of the batch.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        groups = min(32, channels)
        self.norm1, self.conv1 = nn.GroupNorm(groups, channels), ConcatConv(channels)
        self.norm2, self.conv2 = nn.GroupNorm(groups, channels), ConcatConv(channels)
        self.norm3 = nn.GroupNorm(groups, channels)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, C, H, W). Returns dx/dt, (B, C, H, W)."""
        x = self.conv1(t, F.relu(self.norm1(x)))
        x = self.conv2(t, F.relu(self.norm2(x)))
        return self.norm3(x)
