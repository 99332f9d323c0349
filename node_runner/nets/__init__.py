"""Plain networks: no ODE in them."""

from .feedforward import Feedforward
from .mnist import ConvStem, PooledHead, ResStem
from .perceptron import Perceptron
from .residual import ResidualBlock, ResNet
from .variant import variant

__all__ = [
    "ConvStem",
    "Feedforward",
    "Perceptron",
    "PooledHead",
    "ResNet",
    "ResStem",
    "ResidualBlock",
    "variant",
]
