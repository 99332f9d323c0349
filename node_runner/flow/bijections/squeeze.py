"""Space for channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..flow import Flow, Transport


class Squeeze(Flow):
    """Each 2 x 2 block of pixels becomes four channels: (B, C, H, W) to (B, 4 C, H / 2, W / 2)
    (Dinh et al. 2017, section 3.6). It moves entries about, so its volume is one.
    """

    def transport(self, x: Tensor) -> Transport:
        return Transport(F.pixel_unshuffle(x, 2), x.new_zeros(len(x)))

    def inverse(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(z, 2)
