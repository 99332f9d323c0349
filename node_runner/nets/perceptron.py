"""A multi-layer perceptron, the smallest classifier of images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


class Perceptron(nn.Sequential):
    """Images (B, ...) of ``inputs`` pixels to logits (B, classes): linear layers, ReLU between.

    One hidden layer of 300 units is the perceptron of Chen et al. 2018, table 1, who quote it from
    LeCun et al. 1998.

    Args:
        inputs: pixels of an image.
        hidden: widths of the hidden layers.
        classes: how many.
    """

    def __init__(
        self, inputs: int = 784, hidden: Sequence[int] = (300,), classes: int = 10
    ) -> None:
        widths = (inputs, *hidden)
        if min(*widths, classes) < 1:
            raise ValueError(
                f"model has widths {', '.join(map(str, (*widths, classes)))} (inputs, hidden, "
                "classes), must be at least 1"
            )
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers, nn.Linear(widths[-1], classes))
