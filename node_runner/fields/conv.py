"""The dynamics of the MNIST ODE-net."""

from __future__ import annotations

from torch import Tensor, nn

from .conv_layers import ConcatConv


class ConvField(nn.Module):
    """norm - ReLU - conv - norm - ReLU - conv - norm on (B, C, H, W), both convolutions with time
    as a channel.

    The ODE function of Chen et al. 2018, section 3, as in the authors' released example. Group
    normalisation with min(32, C) groups: batch statistics would tie f to the rest of the batch.
    """

    def __init__(self, channels: int = 64) -> None:
        super().__init__()
        groups = min(32, channels)
        self.norm1, self.conv1 = nn.GroupNorm(groups, channels), ConcatConv(channels, channels)
        self.norm2, self.conv2 = nn.GroupNorm(groups, channels), ConcatConv(channels, channels)
        self.norm3 = nn.GroupNorm(groups, channels)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, C, H, W). Returns dx/dt, (B, C, H, W)."""
        # In place: no backward pass needs what a norm has returned.
        x = self.conv1(t, self.norm1(x).relu_())
        x = self.conv2(t, self.norm2(x).relu_())
        return self.norm3(x)
