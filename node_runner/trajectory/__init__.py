"""An unknown f of dx/dt = f(x), learned from trajectories."""

from .horizon import Horizon
from .model import Dynamics, Units

__all__ = ["Dynamics", "Horizon", "Units"]
