"""Convolutions that know the time."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


class ConcatConv(nn.Module):
    """Convolution of [t, x], time as one more constant channel.

    [t, x] is never made: its convolution is the sum of those of t and of x, and one time for all
    samples is one image, which carries the bias as well.

    Args:
        n_in, n_out: channels.
        resize: same: 3x3; half: 3x3 with stride 2, half as many pixels a side; double: 4x4
            transposed with stride 2, twice as many.
    """

    def __init__(
        self, n_in: int, n_out: int, resize: Literal["same", "half", "double"] = "same"
    ) -> None:
        super().__init__()
        self.how = {"padding": 1} | ({} if resize == "same" else {"stride": 2})
        kind, size = (nn.ConvTranspose2d, 4) if resize == "double" else (nn.Conv2d, 3)
        self.convolve = F.conv_transpose2d if resize == "double" else F.conv2d
        self.conv = kind(n_in + 1, n_out, size, **self.how)
        self.dim = 0 if resize == "double" else 1  # of the weight that runs over n_in

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, n_in, H, W). Returns (B, n_out, H', W')."""
        of_time, of_x = self.conv.weight.split((1, x.shape[1]), dim=self.dim)
        time = t.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        shift = self.convolve(time, of_time, self.conv.bias, **self.how)
        return self.convolve(x, of_x, **self.how).add_(shift)
