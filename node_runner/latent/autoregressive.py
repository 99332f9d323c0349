"""Autoregressive models: each observation is predicted from those before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from .cells import Cell
from .inference import Inference
from .likelihood import Gaussian


class Autoregressive(nn.Module):
    """x^(t) = decoder(h(t)), h(t) the state of a cell that has read the observations before t: the
    RNNs and the ODE-RNN of Rubanova et al. 2019. After the last observation the cell reads the
    model's predictions.

    Args:
        dim: D, number of features.
        cell: Recurrent cell that reads the series.
        decoder: Net from h (..., H) to x^ (..., D).
        likelihood: Likelihood of observations given x^.
        first_known: Use the first observation as its own prediction, as the released code does,
            instead of predicting it from h = 0. This dominates the error where the first
            observation has features that are never observed again, such as a patient's age.

    Example:
        >>> from node_runner.data.series import full
        >>> from node_runner.latent import RNN
        >>> model = Autoregressive(2, RNN(2, 5), nn.Linear(5, 2), Gaussian(2))
        >>> series = full(torch.ones(4, 3), torch.zeros(4, 3, 2))
        >>> model.infer(series, series.times).predictions.shape
        torch.Size([4, 3, 1, 2])
    """

    def __init__(
        self,
        dim: int,
        cell: Cell,
        decoder: nn.Module,
        likelihood: Gaussian,
        first_known: bool = False,
    ) -> None:
        super().__init__()
        self.dim, self.cell, self.decoder, self.likelihood = dim, cell, decoder, likelihood
        self.hidden_size, self.first_known = cell.hidden_size, first_known

    def infer(
        self,
        observed: Series,
        times: Tensor,
        beyond: Tensor | None = None,
        samples: int | None = None,
    ) -> Inference:
        reading, lengths = self.cell.read(observed), observed.lengths[:, None]
        known = torch.searchsorted(observed.times.contiguous(), times.contiguous())
        known = torch.minimum(known, lengths)  # observations strictly before each time
        zero = torch.zeros_like(observed.times[:, :1])
        latest = torch.cat((zero, observed.times), dim=1).gather(1, known)
        states, spent = self.cell.evolve(reading.at(known), times - latest)
        last = reading.at(lengths)
        solves = (*reading.solves, *spent)
        if beyond is not None:
            later, spent = self.roll_out(last[:, 0], observed.times[:, -1], beyond)
            states, solves = torch.cat((states, later), dim=1), (*solves, *spent)
        predictions = self.decoder(states)
        if self.first_known:
            first = torch.zeros_like(predictions[..., 0], dtype=torch.bool)
            first[:, : times.shape[1]] = times == observed.times[:, :1]
            predictions = torch.where(first[..., None], observed.values[:, :1], predictions)
        return Inference(predictions[:, :, None], last, None, solves)

    def roll_out(self, h: Tensor, time: Tensor, times: Tensor) -> tuple[Tensor, tuple]:
        """Return the states just before each of ``times``, with predictions as observations."""
        states, solves = [], ()
        for next_time in times.unbind(1):
            gap, time = next_time - time, next_time
            h, spent = self.cell.evolve(h, gap)
            states.append(h)
            solves += spent
            h = self.cell.update(h, self.decoder(h), gap)
        return torch.stack(states, dim=1), solves

    def filter(self, observed: Series) -> Inference:
        reading = self.cell.read(observed)
        predictions = self.decoder(reading.states[:, 1:])[:, :, None]
        last = reading.at(observed.lengths[:, None])
        return Inference(predictions, last, None, reading.solves)
