"""Right-hand sides f(t, x) of ODEs as torch modules: t is a 0-dim tensor, or of shape (B,) with one
time a sample.
"""

from .conv import ConvField
from .conv_net import ConvNet, EncoderDecoder
from .mlp import MLP
from .planar import Planar

__all__ = ["MLP", "ConvField", "ConvNet", "EncoderDecoder", "Planar"]
