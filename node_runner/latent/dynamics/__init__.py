"""Dynamics of a latent state from time 0."""

from .ode import ODE
from .protocol import Dynamics
from .rnn import RNNDynamics

__all__ = ["ODE", "Dynamics", "RNNDynamics"]
