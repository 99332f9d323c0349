"""Right-hand sides f(t, x) of ODEs as torch modules: t is a 0-dim tensor, or of shape (B,) with one
time a sample.
"""

from .conv import ConvField
from .mlp import MLP

__all__ = ["MLP", "ConvField"]
