"""Flows one after another, and flows that let go of half their dimensions on the way."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ..nets import variant
from ..ode import Solver
from .divergence import Divergence
from .flow import Flow, Transport, joined


class Chain(Flow):
    """z = F_n(... F_1(x)): volumes and costs add."""

    def __init__(self, parts: Sequence[Flow]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("a chain needs at least one flow")
        self.parts = nn.ModuleList(parts)
        self.shape = parts[0].shape
        for part in parts:
            self.regularizers |= part.regularizers

    def transport(self, x: Tensor) -> Transport:
        done = []
        for part in self.parts:
            done.append(part.transport(x))
            x = done[-1].z
        return joined(x, done)

    def inverse(self, z: Tensor) -> Tensor:
        for part in reversed(self.parts):
            z = part.inverse(z)
        return z

    def evaluated_with(self, solver: Solver, divergence: Divergence | None = None) -> Chain:
        return variant(self, {"parts": _evaluated(self.parts, solver, divergence)}, regularizers={})


class Multiscale(Flow):
    """After each scale but the last, half of the channels are noise already and take no further
    part (Dinh et al. 2017, arXiv:1605.08803, section 3.6).

    z is the noise of all scales, flattened and put one behind the other, (B, C H W).

    Args:
        scales: the flow of each scale, on images (B, C, H, W).
        shapes: (C, H, W) of what leaves each scale, before half of it is let go.
    """

    def __init__(self, scales: Sequence[Flow], shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.scales, self.shapes = nn.ModuleList(scales), list(shapes)
        for scale in scales:
            self.regularizers |= scale.regularizers

    def transport(self, x: Tensor) -> Transport:
        done, noise = [], []
        for i, scale in enumerate(self.scales):
            done.append(scale.transport(x))
            x = done[-1].z
            if i + 1 < len(self.scales):
                x, ready = x.chunk(2, dim=1)
                noise.append(ready.flatten(1))
        return joined(torch.cat([*noise, x.flatten(1)], dim=1), done)

    def inverse(self, z: Tensor) -> Tensor:
        *halves, last = self.shapes
        sizes = [prod(shape) // 2 for shape in halves]
        *noise, x = z.split([*sizes, prod(last)], dim=1)
        x = self.scales[-1].inverse(x.unflatten(1, last))
        for scale, ready, (c, h, w) in reversed(
            list(zip(self.scales, noise, halves, strict=False))
        ):
            x = scale.inverse(torch.cat((x, ready.unflatten(1, (c // 2, h, w))), dim=1))
        return x

    def evaluated_with(self, solver: Solver, divergence: Divergence | None = None) -> Multiscale:
        scales = _evaluated(self.scales, solver, divergence)
        return variant(self, {"scales": scales}, regularizers={})


def _evaluated(
    flows: nn.ModuleList, solver: Solver, divergence: Divergence | None
) -> nn.ModuleList:
    """Return the flows of a list under another solver and divergence."""
    changed = {k: flow.evaluated_with(solver, divergence) for k, flow in flows.named_children()}
    return variant(flows, changed)
