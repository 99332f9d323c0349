"""Density estimation of images, whose pixels are integers."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from ..flow import Divergence, Flow, Rademacher
from ..flow.plots import draw_images
from ..ode import Solver
from ..training import Artifacts, Data
from .density import Density
from .objectives import BitsPerDim

STOPS = 9  # images of an interpolation, its ends included


def image_density(
    flow: Flow,
    eval_solver: Solver,
    eval_divergence: Divergence | None = None,
    samples: int = 64,
    temperature: float = 1.0,
    pairs: int = 6,
) -> Density:
    """Return the task of a flow on images of integers: bits per dimension (``BitsPerDim``).

    Args:
        flow: Flow to train, on images in [0, 1].
        eval_solver: ODE solver of evaluation, pictures and samples.
        eval_divergence: Divergence of the test (default: Rademacher).
        samples: Number of images drawn at the end.
        temperature: Factor of the noise that they are drawn from.
        pairs: Pairs of test images between which noise is interpolated.

    Raises:
        ValueError: For a value out of range.
    """
    views = ImageViews(samples, temperature, pairs)
    divergence = eval_divergence or Rademacher()
    return Density(flow, eval_solver, divergence, metric=BitsPerDim(), views=views)


ImageDensity = image_density  # its name in the configurations of older runs


class ImageViews:
    """Test images, samples, and interpolations of an image flow. Arguments as above."""

    def __init__(self, samples: int = 64, temperature: float = 1.0, pairs: int = 6) -> None:
        for name, value in (("samples", samples), ("pairs", pairs)):
            if value < 0:
                raise ValueError(f"{name} is {value}, must be 0 or more")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, must be positive")
        self.samples, self.temperature, self.pairs = samples, temperature, pairs

    def visualize(self, task: Density, data: Data) -> Artifacts:
        """Return images of the test and of the model, and interpolations through noise."""
        images = next(iter(data.batches("test")))
        flow, figures, arrays = task.evaluated_flow(), {}, {}
        if self.samples:
            noise = torch.randn(self.samples, images[0].numel(), device=images.device)
            drawn = self.decode(flow, self.temperature * noise, data.shape)
            title = f"model samples at temperature {self.temperature:g}"
            arrays["samples"] = drawn
            figures["samples"] = draw_images(
                {"test images": images[: self.samples] / 2**task.metric.bits, title: drawn}
            )
        pairs = min(self.pairs, len(images) // 2)
        if pairs:
            ends = task.metric.points(images[: 2 * pairs])
            figures["interpolation"] = draw_images(
                {"between test images, through noise": self.between(flow, ends, data.shape)},
                columns=STOPS,
            )
        return Artifacts(figures, task.probe_spread(data), arrays)

    def sample(self, task: Density, data: Data) -> Artifacts:
        """Return ``visualize``, which has the samples as an array."""
        return self.visualize(task, data)

    def decode(self, flow: Flow, z: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return images in [0, 1] for noise (B, D)."""
        parts = [flow.inverse(part) for part in z.split(100)]
        return torch.cat(parts).view(-1, *shape).clamp(0, 1)

    def between(self, flow: Flow, ends: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return rows of images whose noise goes from one end to the other on an arc at even
        angles, which keeps its norm near that of typical noise.
        """
        one, two = flow.transport(ends).z.unflatten(0, (-1, 2)).unbind(1)
        angles = torch.linspace(0, pi / 2, STOPS, device=ends.device)
        rows = one[:, None] * angles.cos()[:, None] + two[:, None] * angles.sin()[:, None]
        return self.decode(flow, rows.flatten(0, 1), shape)
