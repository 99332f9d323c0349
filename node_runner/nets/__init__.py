"""Plain networks: no ODE in them."""

from .mnist import ConvStem, PooledHead

__all__ = ["ConvStem", "PooledHead"]
