"""Invertible maps without an ODE, one file each."""

from .flatten import Flatten
from .logit import Logit
from .planar import Planar
from .squeeze import Squeeze

__all__ = ["Flatten", "Logit", "Planar", "Squeeze"]
