"""Density estimation of images, whose pixels are integers."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor

from ..flow import Divergence, Flow, Rademacher, Transport
from ..flow.plots import draw_images
from ..ode import Solver
from ..training import Data, Evaluation, Exhibit, Headline
from .density import Density

STOPS = 9  # images of an interpolation, its ends included


class ImageDensity(Density):
    """Fit a flow to images of n bits: loss = bits/dim + sum_i weight_i mean(cost_i), with

        bits/dim = -(log p(y) / D - n log 2) / log 2,    y = (x + u) / 2^n in [0, 1].

    With u uniform on [0, 1), drawn anew for each image and step, this is an upper bound of the bits
    that the discrete model needs (Theis et al. 2016, arXiv:1511.01844), and the number that FFJORD
    reports. ``bits_per_dim_midbin`` has u = 1/2, as the released code of RNODE validates: it is no
    bound, and usually lower.

    Args:
        flow: to train, on images in [0, 1].
        eval_solver: of evaluation, pictures and samples.
        eval_divergence: of the test; Rademacher unless given.
        samples: images drawn in the end.
        temperature: factor of the noise that they are drawn from.
        pairs: of test images between which noise is interpolated.
    """

    headline = Headline("bits_per_dim", "bits/dim")

    def __init__(
        self,
        flow: Flow,
        eval_solver: Solver,
        eval_divergence: Divergence | None = None,
        samples: int = 64,
        temperature: float = 1.0,
        pairs: int = 6,
    ) -> None:
        super().__init__(flow, eval_solver, eval_divergence or Rademacher())
        if samples < 0 or pairs < 0 or temperature <= 0:
            raise ValueError(
                f"task.samples is {samples}, task.pairs {pairs}, task.temperature {temperature}: "
                "must be 0 or more, 0 or more, and positive"
            )
        self.samples, self.temperature, self.pairs = samples, temperature, pairs
        self.bits = 8

    def check(self, data: Data) -> None:
        super().check(data)
        self.bits = getattr(data, "bits", None)
        if self.bits is None:
            raise ValueError(
                f"{data.name} has no images of integers; choose data=mnist_pixels, cifar or "
                "npy_pixels"
            )

    def score(
        self, flow: Flow, batch: Tensor, noise: float | None = None
    ) -> tuple[Tensor, Transport]:
        """Bits per dimension of each image, (B,), and the transport behind them.

        Args:
            batch: integers in [0, 2^n), (B, C, H, W).
            noise: u; drawn unless given.
        """
        log_prob, transport = flow.log_prob(self.dequantised(batch, noise))
        return bits_per_dim(log_prob, batch[0].numel(), self.bits), transport

    def dequantised(self, batch: Tensor, noise: float | None = None) -> Tensor:
        """(x + u) / 2^n, below 1 even where a float rounds it up."""
        x = batch.to(torch.get_default_dtype())
        y = (x + (torch.rand_like(x) if noise is None else noise)) / 2**self.bits
        return y.clamp_max(1 - torch.finfo(y.dtype).eps / 2)

    def evaluate(self, batch: Tensor, split: str) -> Evaluation:
        """Bits per dimension of each image: with uniform noise, and for the test at mid-bin too."""
        found = super().evaluate(batch, split)
        if split == "test":
            values, _ = self.score(self.evaluated_flow(split), batch, 0.5)
            found.values["bits_per_dim_midbin"] = values
        return found

    def likelihood(self, batch: Tensor) -> Tensor:
        return self.evaluated_flow().log_prob(self.dequantised(batch, 0.5))[0]

    def show(self, data: Data) -> Exhibit:
        """Images of the test and of the model; the way through noise from one to another."""
        images = next(iter(data.batches("test")))
        flow, figures, arrays = self.evaluated_flow(), {}, {}
        if self.samples:
            noise = torch.randn(self.samples, images[0].numel(), device=images.device)
            drawn = self.decode(flow, self.temperature * noise, data.shape)
            title = f"model samples at temperature {self.temperature:g}"
            arrays["samples"] = drawn
            figures["samples"] = draw_images(
                {"test images": images[: self.samples] / 2**self.bits, title: drawn}
            )
        pairs = min(self.pairs, len(images) // 2)
        if pairs:
            ends = self.dequantised(images[: 2 * pairs], 0.5)
            figures["interpolation"] = draw_images(
                {"between test images, through noise": self.between(flow, ends, data.shape)},
                columns=STOPS,
            )
        return Exhibit(figures, self.probe_spread(data), arrays)

    def sample(self, data: Data) -> Exhibit:
        """What ``show`` gives: its samples are an array already."""
        return self.show(data)

    def decode(self, flow: Flow, z: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Noise, (B, D), to images in [0, 1]."""
        parts = [flow.inverse(part) for part in z.split(100)]
        return torch.cat(parts).view(-1, *shape).clamp(0, 1)

    def between(self, flow: Flow, ends: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Rows of images: their noises go from one end to the other on an arc, at even angles,
        which keeps their length near that of typical noise.
        """
        one, two = flow.transport(ends).z.unflatten(0, (-1, 2)).unbind(1)
        angles = torch.linspace(0, pi / 2, STOPS, device=ends.device)
        rows = one[:, None] * angles.cos()[:, None] + two[:, None] * angles.sin()[:, None]
        return self.decode(flow, rows.flatten(0, 1), shape)


def bits_per_dim(log_prob: Tensor, dim: int, bits: int) -> Tensor:
    """Bits of n-bit integers from log p of y = (x + u) / 2^n, in nats."""
    return bits - log_prob / (dim * log(2))
