"""Models of an unknown f in dx/dt = f(x), learned from trajectories."""

from .horizon import HorizonSchedule
from .model import Dynamics, Normalisation

Horizon = HorizonSchedule  # its name in the configurations of older runs

__all__ = ["Dynamics", "HorizonSchedule", "Normalisation"]
