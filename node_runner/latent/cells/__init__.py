"""Recurrent cells: the update at an observation, and the evolution in a gap."""

from .decay import Decay
from .gru_d import GRUD
from .ode import ODECell
from .protocol import Cell, Reading
from .rnn import RNN

__all__ = ["GRUD", "Cell", "Decay", "ODECell", "RNN", "Reading"]
