"""Models of irregularly observed series."""

from .autoregressive import Autoregressive
from .cells import GRUD, RNN, Decay, ODECell
from .dynamics import ODE, RNNDynamics
from .encoder import Encoder, Posterior
from .evidence import Annealing, evidence
from .inference import Inference, SeriesModel
from .likelihood import Gaussian, squared_errors
from .model import LatentModel

__all__ = [
    "GRUD",
    "ODE",
    "RNN",
    "Annealing",
    "Autoregressive",
    "Decay",
    "Encoder",
    "Gaussian",
    "Inference",
    "LatentModel",
    "ODECell",
    "Posterior",
    "RNNDynamics",
    "SeriesModel",
    "evidence",
    "squared_errors",
]
