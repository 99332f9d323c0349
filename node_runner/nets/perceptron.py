"""A multi-layer perceptron, the smallest classifier of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .feedforward import Feedforward


class Perceptron(nn.Sequential):
    """Images (B, ...) of ``inputs`` pixels to logits (B, classes): linear layers, ReLU between.

    One hidden layer of 300 units is the perceptron of Chen et al. 2018, table 1, who quote it from
    LeCun et al. 1998.

    Args:
        inputs: pixels of an image.
        hidden: widths of the hidden layers.
        classes: how many.

    Raises:
        ValueError: for a width below 1.
    """

    def __init__(
        self, inputs: int = 784, hidden: Sequence[int] = (300,), classes: int = 10
    ) -> None:
        super().__init__(nn.Flatten(), *Feedforward(inputs, classes, hidden, "relu"))
