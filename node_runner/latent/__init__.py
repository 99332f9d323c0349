"""Models of irregularly observed series."""

from .autoregressive import Autoregressive
from .cells import GRUD, RNN, Decay, ODECell
from .dynamics import ODE, RNNDynamics
from .encoder import Encoder, Posterior
from .evidence import Annealing, evidence
from .inference import Inference, SeriesModel
from .likelihood import Gaussian, squared_errors
from .model import LatentModel
from .point_process import Intensity, PointProcess, log_likelihood

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
    "Intensity",
    "LatentModel",
    "ODECell",
    "PointProcess",
    "Posterior",
    "RNNDynamics",
    "SeriesModel",
    "evidence",
    "log_likelihood",
    "squared_errors",
]
