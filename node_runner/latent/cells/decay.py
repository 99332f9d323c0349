"""A recurrent net whose state decays between observations."""

from __future__ import annotations

from torch import Tensor, nn

from ...data.series import Series
from .protocol import Reading, SolveStats, features, scan


class Decay(nn.Module):
    """h(t + g) = h(t) exp(-max(0, w g + b)), elementwise, then a GRU update with [x, m]
    (RNN-Decay of Rubanova et al. 2019; Che et al. 2018, arXiv:1606.01865, equation 4).

    Args:
        dim: D, number of features.
        size: H, number of hidden units.

    Example:
        >>> import torch
        >>> Decay(2, 5).evolve(torch.zeros(3, 5), torch.rand(3))[0].shape
        torch.Size([3, 5])
    """

    def __init__(self, dim: int, size: int = 20) -> None:
        super().__init__()
        self.hidden_size, self.net = size, nn.GRUCell(2 * dim, size)
        self.rate = nn.Linear(1, size)

    def read(self, series: Series) -> Reading:
        factors = self.factors(series.gaps)
        inputs = features(series.values, series.mask)
        return scan(inputs, self.hidden_size, lambda h, k: (h * factors[:, k], ()), self.net)

    def factors(self, gap: Tensor) -> Tensor:
        return (-self.rate(gap[..., None]).relu()).exp()

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, SolveStats]:
        return h * self.factors(gap), ()

    def update(self, h: Tensor, x: Tensor, gap: Tensor) -> Tensor:
        return self.net(features(x), h)
