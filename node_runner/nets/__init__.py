"""Plain networks: no ODE in them."""

from .mnist import ConvStem, PooledHead, ResStem
from .perceptron import Perceptron
from .residual import ResidualBlock, ResNet

__all__ = ["ConvStem", "Perceptron", "PooledHead", "ResNet", "ResStem", "ResidualBlock"]
