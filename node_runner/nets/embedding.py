"""Embedding of class labels."""

from __future__ import annotations

from torch import nn


class ClassEmbedding(nn.Embedding):
    """Labels (B,) to vectors (B, size), one parameter vector per class.

    Args:
        classes: Number of classes.
        size: Entries of a vector.

    Raises:
        ValueError: For a number below 1.

    Example:
        >>> import torch
        >>> ClassEmbedding(classes=3, size=4)(torch.tensor([0, 2])).shape
        torch.Size([2, 4])
    """

    def __init__(self, classes: int, size: int) -> None:
        for name, value in (("classes", classes), ("size", size)):
            if value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
        super().__init__(classes, size)
