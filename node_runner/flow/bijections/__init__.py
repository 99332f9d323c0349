"""Invertible maps without an ODE, one file each."""

from .logit import Logit
from .planar import Planar
from .squeeze import Squeeze

__all__ = ["Logit", "Planar", "Squeeze"]
