"""Composition of flows, and multiscale flows with factored-out dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, nn

from .flow import Flow, Transport, concatenate


class Chain(Flow):
    """z = F_n(... F_1(x)): volumes and costs add. A context goes to every part that takes one.

    Args:
        parts: F_1 to F_n.
        shape: Shape of a sample (default: that of F_1).

    Raises:
        ValueError: For no parts, and for parts with contexts of different sizes.

    Example:
        >>> from node_runner.flow import Planar
        >>> Chain([Planar(2), Planar(2)]).transport(torch.zeros(3, 2)).log_det.shape
        torch.Size([3])
    """

    def __init__(self, parts: Sequence[Flow], shape: Sequence[int] | None = None) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts is empty, must hold at least one flow")
        self.parts = nn.ModuleList(parts)
        self.shape = parts[0].shape if shape is None else tuple(shape)
        self.context = _common_context(parts)
        for part in parts:
            self.regularizers |= part.regularizers

    @property
    def noise_shape(self) -> tuple[int, ...] | None:
        return _flows(self.parts)[-1].noise_shape or self.shape

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        self._check_context(x, context)
        transports = []
        for part in _flows(self.parts):
            transports.append(part.transport(x, context if part.context else None))
            x = transports[-1].z
        return concatenate(x, transports)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        self._check_context(z, context)
        for part in reversed(_flows(self.parts)):
            z = part.inverse(z, context if part.context else None)
        return z


class Multiscale(Flow):
    """A flow that factors out half of the channels as noise after each scale but the last
    (Dinh et al. 2017, arXiv:1605.08803, section 3.6).

    z is the noise of all scales, flattened and concatenated, (B, C H W).

    Args:
        scales: Flow of each scale, on images (B, C, H, W).
        shapes: (C, H, W) at the end of each scale, before half of it is factored out.

    Raises:
        ValueError: For scales with contexts of different sizes.

    Example:
        >>> from node_runner.flow.bijections import Squeeze
        >>> flow = Multiscale([Squeeze(), Squeeze()], [(4, 2, 2), (8, 1, 1)])
        >>> flow.transport(torch.zeros(1, 1, 4, 4)).z.shape
        torch.Size([1, 16])
    """

    def __init__(self, scales: Sequence[Flow], shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.scales, self.shapes = nn.ModuleList(scales), list(shapes)
        self.context = _common_context(scales)
        for scale in scales:
            self.regularizers |= scale.regularizers

    @property
    def noise_shape(self) -> tuple[int, ...]:
        *halves, last = self.shapes
        return (sum(prod(shape) // 2 for shape in halves) + prod(last),)

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        self._check_context(x, context)
        transports, noise = [], []
        for i, scale in enumerate(_flows(self.scales)):
            transports.append(scale.transport(x, context if scale.context else None))
            x = transports[-1].z
            if i + 1 < len(self.scales):
                x, factored_out = x.chunk(2, dim=1)
                noise.append(factored_out.flatten(1))
        return concatenate(torch.cat([*noise, x.flatten(1)], dim=1), transports)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        self._check_context(z, context)
        *halves, last = self.shapes
        *noise, x = z.split([*(prod(shape) // 2 for shape in halves), prod(last)], dim=1)
        x = x.unflatten(1, last)
        scales = _flows(self.scales)
        for i in reversed(range(len(scales))):
            scale = scales[i]
            x = scale.inverse(x, context if scale.context else None)
            if i:
                c, h, w = halves[i - 1]
                x = torch.cat((x, noise[i - 1].unflatten(1, (c // 2, h, w))), dim=1)
        return x


def _flows(modules: nn.ModuleList) -> list[Flow]:
    """Return the flows of a module list."""
    return cast(list[Flow], list(modules))


def _common_context(flows: Sequence[Flow]) -> int:
    sizes = {flow.context for flow in flows if flow.context}
    if len(sizes) > 1:
        raise ValueError(f"context of the parts has {sorted(sizes)} entries, must be the same")
    return max(sizes, default=0)
