"""Normalizing flows: divergence, transport, regularizers, and the papers' architectures."""

from .architectures import multiscale, planar, single_scale, stack
from .chain import Chain, Multiscale
from .cnf import CNF
from .divergence import Divergence, Exact, Gaussian, Rademacher, pushforward
from .flow import Flow, Transport, log_normal

__all__ = [
    "CNF",
    "Chain",
    "Divergence",
    "Exact",
    "Flow",
    "Gaussian",
    "Multiscale",
    "Rademacher",
    "Transport",
    "log_normal",
    "multiscale",
    "planar",
    "pushforward",
    "single_scale",
    "stack",
]
