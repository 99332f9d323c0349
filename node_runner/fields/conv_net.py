"""Convolutional dynamics of image flows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from .conv_layers import ConcatConv
from .layers import ACTIVATIONS


class ConvNet(nn.Module):
    """f(t, x) on images (B, C, H, W): convolutions with time as a channel, an activation between
    them, none after the last.

    Args:
        channels: C, of x and of f.
        hidden: channels between the convolutions.
        activation: between them; smooth, as the divergence is differentiated.
        zero_last: start with f = 0, the flow at rest (the released code of Finlay et al. 2020).

    Raises:
        ValueError: if there is no hidden layer.
    """

    def __init__(
        self,
        channels: int,
        hidden: Sequence[int] = (64, 64, 64),
        activation: Literal["softplus", "tanh", "elu", "swish"] = "softplus",
        zero_last: bool = False,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ValueError(f"hidden is {list(hidden)}, must be one or more positive")
        layers = self.convolutions(channels, hidden)
        self.layers = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[activation]
        if zero_last:
            for parameter in layers[-1].parameters():
                nn.init.zeros_(parameter)

    def convolutions(self, channels: int, hidden: Sequence[int]) -> list[ConcatConv]:
        """From x to f."""
        widths = [channels, *hidden, channels]
        return [ConcatConv(a, b) for a, b in zip(widths, widths[1:], strict=False)]

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, C, H, W). Returns dx/dt, (B, C, H, W)."""
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(t, x))
        return last(t, x)


class EncoderDecoder(ConvNet):
    """A ConvNet whose every other convolution halves the image's sides, and whose mirrored half
    doubles them again (Grathwohl et al. 2018, section 4.2, the single-scale flow).

    Attributes:
        multiple: of which sides must be: 2^(len(hidden) // 2), 4 for the paper's 64, 64, 128, 128.
    """

    def __init__(
        self,
        channels: int,
        hidden: Sequence[int] = (64, 64, 128, 128),
        activation: Literal["softplus", "tanh", "elu", "swish"] = "softplus",
        zero_last: bool = False,
    ) -> None:
        super().__init__(channels, hidden, activation, zero_last)
        self.multiple = 2 ** (len(hidden) // 2)

    def convolutions(self, channels: int, hidden: Sequence[int]) -> list[ConcatConv]:
        widths = [channels, *hidden]
        down: list[ConcatConv] = []
        up: list[ConcatConv] = []
        for i, (a, b) in enumerate(zip(widths, hidden, strict=False)):
            halves = i % 2 == 1
            down.append(ConcatConv(a, b, "half" if halves else "same"))
            up.insert(0, ConcatConv(b, a, "double" if halves else "same"))
        return [*down, *up]
