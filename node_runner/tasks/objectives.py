"""Objectives and metrics of density tasks: one number per sample from a flow."""

from __future__ import annotations

from math import log
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..data import energies
from ..flow import Flow, Transport, log_normal
from ..training import Data, PrimaryMetric


class Score(NamedTuple):
    """Values of an objective, (B,), and the transport that they come from, if there is one."""

    values: Tensor
    transport: Transport | None = None


class Objective(Protocol):
    """A training objective, to be minimised in the mean over the batch."""

    def __call__(self, flow: Flow, batch: Tensor, context: Tensor | None = None) -> Score:
        """Return a value per sample of a batch (B, *event), with context (B, C) or without."""


class Metric(Objective, Protocol):
    """An objective that is also evaluated and reported.

    Attributes:
        primary_metric: Name and unit of its values.
    """

    primary_metric: PrimaryMetric

    def bind(self, data: Data) -> None:
        """Read what it needs of a data set.

        Raises:
            ValueError: If it is not meant for this data set.
        """

    def points(self, batch: Tensor) -> Tensor:
        """Return the inputs of the flow for a batch, without noise."""

    def further(self, flow: Flow, batch: Tensor) -> dict[str, Tensor]:
        """Return further values of the test, (B,) by name."""


class Likelihood:
    """-log p(x | c) of samples x."""

    primary_metric = PrimaryMetric("nll", "nats")

    def __call__(self, flow: Flow, batch: Tensor, context: Tensor | None = None) -> Score:
        transport = flow.transport(batch, context)
        return Score(-transport.log_prob, transport)

    def bind(self, data: Data) -> None:
        """Accept any samples."""

    def points(self, batch: Tensor) -> Tensor:
        return batch

    def further(self, flow: Flow, batch: Tensor) -> dict[str, Tensor]:
        return {}


class BitsPerDim:
    """Bits per dimension of images of n-bit integers,

        bits/dim = -(log p(y) / D - n log 2) / log 2,    y = (x + u) / 2^n in [0, 1].

    With u uniform on [0, 1), drawn for each call, this is an upper bound of the bits that the
    discrete model needs (Theis et al. 2016, arXiv:1511.01844), and the number that FFJORD reports.
    ``bits_per_dim_midbin`` has u = 1/2, as in the validation of RNODE's released code: it is not a
    bound, and usually lower.

    Attributes:
        bits: n.
    """

    primary_metric = PrimaryMetric("bits_per_dim", "bits/dim")

    def __init__(self, bits: int = 8) -> None:
        self.bits = bits

    def bind(self, data: Data) -> None:
        self.bits = getattr(data, "bits", None)
        if self.bits is None:
            raise ValueError(
                f"{data.name} has no images of integers; choose data=mnist_pixels, cifar or "
                "npy_pixels"
            )

    def __call__(
        self,
        flow: Flow,
        batch: Tensor,
        context: Tensor | None = None,
        noise: float | None = None,
    ) -> Score:
        transport = flow.transport(self.dequantised(batch, noise), context)
        return Score(bits_per_dim(transport.log_prob, batch[0].numel(), self.bits), transport)

    def points(self, batch: Tensor) -> Tensor:
        return self.dequantised(batch, 0.5)

    def further(self, flow: Flow, batch: Tensor) -> dict[str, Tensor]:
        return {"bits_per_dim_midbin": self(flow, batch, noise=0.5).values}

    def dequantised(self, batch: Tensor, noise: float | None = None) -> Tensor:
        """Return (x + u) / 2^n, below 1 even where a float rounds it up; u is drawn if None."""
        x = batch.to(torch.get_default_dtype())
        y = (x + (torch.rand_like(x) if noise is None else noise)) / 2**self.bits
        return y.clamp_max(1 - torch.finfo(y.dtype).eps / 2)


def bits_per_dim(log_prob: Tensor, dim: int, bits: int) -> Tensor:
    """Return bits per dimension of n-bit integers from log p of y = (x + u) / 2^n in nats."""
    return bits - log_prob / (dim * log(2))


class ReverseKLDivergence:
    """log q(x) - log p(x) at x = F(z) for noise z, where p = e^-U / Z: its mean is KL(q | p).

    A flow's ``transport`` leads from noise to x here, as in the paper. log Z is summed on a grid,
    so that the value is a divergence: at least 0, and 0 at best.

    Args:
        energy: Name of U.
    """

    primary_metric = PrimaryMetric("kl", "nats")

    def __init__(self, energy: energies.Name = "u1") -> None:
        self.energy, self.log_z = energy, energies.log_normaliser(energy)

    def bind(self, data: Data) -> None:
        if (data.name, data.shape) != ("noise", (2,)):
            raise ValueError(
                f"density matching starts from noise in two dimensions, not from {data.name} of "
                f"shape {list(data.shape)}: leave out data= and data.dim="
            )

    def __call__(self, flow: Flow, batch: Tensor, context: Tensor | None = None) -> Score:
        transport = flow.transport(batch, context)
        log_q = log_normal(batch) - transport.log_det
        return Score(log_q - self.log_target(transport.z), transport)

    def log_target(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, (B,)."""
        return -energies.energy(self.energy, x) - self.log_z

    def points(self, batch: Tensor) -> Tensor:
        return batch

    def further(self, flow: Flow, batch: Tensor) -> dict[str, Tensor]:
        return {}
