"""A plain feed-forward net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU, "softplus": nn.Softplus}
Activation = Literal["tanh", "relu", "elu", "softplus"]


class Feedforward(nn.Sequential):
    """(..., inputs) to (..., outputs): linear layers, an activation between them.

    Args:
        inputs, outputs: widths of the first and the last.
        hidden: widths between; none leaves one linear layer.
        activation: after each hidden layer.

    Raises:
        ValueError: for a width below 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (),
        activation: Activation = "tanh",
    ) -> None:
        widths = (inputs, *hidden, outputs)
        if min(widths) < 1:
            name = "inputs" if inputs < 1 else "outputs" if outputs < 1 else "hidden"
            raise ValueError(
                f"{name} is {list(hidden) if name == 'hidden' else min(widths)}, must be at least 1"
            )
        layers: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
        super().__init__(*layers, nn.Linear(widths[-2], widths[-1]))
