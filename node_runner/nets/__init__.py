"""Plain networks: no ODE in them."""

from .embedding import ClassEmbedding
from .feedforward import Feedforward
from .mnist import ConvStem, PooledHead, ResStem
from .perceptron import Perceptron
from .residual import ResidualBlock, ResNet
from .variant import variant, with_solver

__all__ = [
    "ClassEmbedding",
    "ConvStem",
    "Feedforward",
    "Perceptron",
    "PooledHead",
    "ResNet",
    "ResStem",
    "ResidualBlock",
    "variant",
    "with_solver",
]
