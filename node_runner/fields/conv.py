"""The dynamics of the MNIST ODE-net."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ConcatConv(nn.Module):
    """3x3 convolution of [t, x], time as one more constant channel.

    [t, x] is never made: its convolution is the sum of those of t and of x, and one time for all
    samples is one image, which carries the bias as well.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels + 1, channels, 3, padding=1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, C, H, W). Returns (B, C, H, W)."""
        of_time, of_x = self.conv.weight.split((1, x.shape[1]), dim=1)
        time = t.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        shift = F.conv2d(time, of_time, self.conv.bias, padding=1)
        return F.conv2d(x, of_x, padding=1).add_(shift)


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
        # In place: no backward pass needs what a norm has returned.
        x = self.conv1(t, self.norm1(x).relu_())
        x = self.conv2(t, self.norm2(x).relu_())
        return self.norm3(x)
