"""Models that predict each observation from those before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from ..ode import Solver
from .cells import Cell
from .inference import Inference
from .likelihood import Gaussian


class Autoregressive(nn.Module):
    """x^(t) = decoder(h(t)), h(t) the state of a cell that has read what was observed before t: the
    RNNs and the ODE-RNN of Rubanova et al. 2019. Beyond the last observation it reads its own
    predictions.

    Args:
        dim: D.
        cell: that reads.
        decoder: from h (..., H) to x^ (..., D).
        likelihood: of observations about x^.
        first_known: take the first observation for its own prediction, as the released code does,
            rather than predict it from nothing: where it holds what is observed never again, such
            as a patient's age, that decides on the error.
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
        self.size, self.first_known = cell.size, first_known

    def evaluated_with(self, solver: Solver) -> Autoregressive:
        """The model itself: the solver of gaps is a part of the cell."""
        return self

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
        """The states just before each of ``times``, the prediction at each taken for true."""
        states, solves = [], ()
        for next_time in times.unbind(1):
            gap, time = next_time - time, next_time
            h, spent = self.cell.evolve(h, gap)
            states.append(h)
            solves += spent
            h = self.cell.update(h, self.decoder(h), gap)
        return torch.stack(states, dim=1), solves

    def follow(self, observed: Series) -> Inference:
        reading = self.cell.read(observed)
        predictions = self.decoder(reading.states[:, 1:])[:, :, None]
        last = reading.at(observed.lengths[:, None])
        return Inference(predictions, last, None, reading.solves)
