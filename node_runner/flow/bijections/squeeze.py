"""Pixel blocks to channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..flow import Flow, Transport


class Squeeze(Flow):
    """Each 2 x 2 block of pixels becomes four channels: (B, C, H, W) to (B, 4 C, H / 2, W / 2)
    (Dinh et al. 2017, section 3.6). It permutes entries, so its volume is one.

    Example:
        >>> import torch
        >>> Squeeze().transport(torch.zeros(2, 1, 4, 4)).z.shape
        torch.Size([2, 4, 2, 2])
    """

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        self._check_context(x, context)
        return Transport(F.pixel_unshuffle(x, 2), x.new_zeros(len(x)))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        self._check_context(z, context)
        return F.pixel_shuffle(z, 2)
