"""Continuous normalizing flows: divergence, transport, regularizers."""

from .cnf import CNF, Transport
from .divergence import Divergence, Exact, Gaussian, Rademacher, pushforward

__all__ = ["CNF", "Divergence", "Exact", "Gaussian", "Rademacher", "Transport", "pushforward"]
