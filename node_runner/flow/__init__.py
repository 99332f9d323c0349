"""Normalizing flows: divergence, transport, regularizers, and the papers' architectures."""

from .architectures import multiscale, planar, single_scale, stacked_cnf
from .bijections import Flatten, Logit, Planar, Squeeze
from .chain import Chain, Multiscale
from .cnf import CNF
from .distribution import FlowDistribution
from .divergence import Divergence, Exact, Gaussian, Rademacher, divergence_and_vjps
from .flow import Flow, Transport, log_normal

stack = stacked_cnf  # its name in the configurations of older runs

__all__ = [
    "CNF",
    "Chain",
    "Divergence",
    "Exact",
    "Flatten",
    "Flow",
    "FlowDistribution",
    "Gaussian",
    "Logit",
    "Multiscale",
    "Planar",
    "Rademacher",
    "Squeeze",
    "Transport",
    "divergence_and_vjps",
    "log_normal",
    "multiscale",
    "planar",
    "single_scale",
    "stacked_cnf",
]
