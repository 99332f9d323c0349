"""GRU-D: state and missing inputs decay between observations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...data.series import Series
from .protocol import Reading, SolveStats, features, scan


class GRUD(nn.Module):
    """Che et al. 2018 (arXiv:1606.01865), equations 4 to 6. With d the time since the last
    observation of each feature, a missing input decays from its last value x' to a mean, and the
    state to 0:

        x^ = m x + (1 - m) (r x' + (1 - r) mean), r = exp(-max(0, w d + b)), elementwise
        h <- h exp(-max(0, W d + c)), then h <- GRU([x^, m], h)

    The mean is a parameter, initially 0; the paper takes that of the training set. In ``evolve``, d
    is the time since the last observation of any feature.

    Args:
        dim: D, number of features.
        size: H, number of hidden units.

    Example:
        >>> GRUD(2, 5).evolve(torch.zeros(3, 5), torch.rand(3))[0].shape
        torch.Size([3, 5])
    """

    def __init__(self, dim: int, size: int = 20) -> None:
        super().__init__()
        self.hidden_size, self.net = size, nn.GRUCell(2 * dim, size)
        self.mean = nn.Parameter(torch.zeros(dim))
        self.input_rate = nn.Parameter(torch.ones(dim))
        self.input_bias = nn.Parameter(torch.zeros(dim))
        self.state_rate = nn.Linear(dim, size)

    def read(self, series: Series) -> Reading:
        since, last = self._last_observed(series)
        keep = (-(self.input_rate * since + self.input_bias).relu()).exp()
        decayed = keep * last + (1 - keep) * self.mean
        values = torch.where(series.mask, series.values, decayed)
        inputs = torch.cat((values, series.mask.to(values.dtype)), dim=-1)
        factors = (-self.state_rate(since).relu()).exp()
        return scan(inputs, self.hidden_size, lambda h, k: (h * factors[:, k], ()), self.net)

    def _last_observed(self, series: Series) -> tuple[Tensor, Tensor]:
        """Return the time since the last observation of each feature before each time (since 0 if
        there is none), and its value (the mean if there is none); (B, T, D) each.
        """
        steps = torch.arange(series.times.shape[1], device=series.times.device)
        seen = torch.where(series.mask, steps[:, None], -1).cummax(1).values
        before = torch.cat((torch.full_like(seen[:, :1], -1), seen[:, :-1]), dim=1)
        ever, index = before >= 0, before.clamp(min=0)
        times = series.times[:, :, None].expand_as(series.values)
        since = times - torch.where(ever, times.gather(1, index), 0.0)
        return since, torch.where(ever, series.values.gather(1, index), self.mean)

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, SolveStats]:
        since = gap[..., None].expand(*gap.shape, len(self.mean))
        return h * (-self.state_rate(since).relu()).exp(), ()

    def update(self, h: Tensor, x: Tensor, gap: Tensor) -> Tensor:
        return self.net(features(x), h)
