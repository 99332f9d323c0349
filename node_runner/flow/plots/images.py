"""Grids of images."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_images"]


def draw_images(panels: dict[str, Tensor], columns: int = 8) -> Figure:
    """Draw panels of images (N, C, H, W) in [0, 1], C = 1 or 3, side by side under their titles.

    >>> import torch
    >>> figure = draw_images({"test images": torch.rand(16, 1, 8, 8)})
    >>> [axis.get_title() for axis in figure.axes]
    ['test images']
    """
    from matplotlib.figure import Figure  # imported late: takes half a second
    from torchvision.utils import make_grid

    rows = max(ceil(len(images) / columns) for images in panels.values())
    size = (0.6 * columns * len(panels) + 0.4, 0.6 * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, images) in zip(axes, panels.items(), strict=True):
        tiled = make_grid(images.float().cpu(), columns, padding=2, pad_value=0.5)
        axis.imshow(tiled.permute(1, 2, 0).numpy(), interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    return figure
