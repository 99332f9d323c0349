"""Models of irregularly observed series."""

from .autoregressive import Autoregressive
from .cells import GRUD, RNN, Decay, ODECell
from .dynamics import ODE, RNNDynamics
from .elbo import KLAnnealing, elbo
from .encoder import Encoder, Posterior
from .inference import Inference, SeriesModel
from .likelihood import Gaussian, squared_errors
from .model import LatentModel
from .point_process import Intensity, PointProcess, log_likelihood

Annealing = KLAnnealing  # its name in the configurations of older runs

__all__ = [
    "GRUD",
    "ODE",
    "RNN",
    "Autoregressive",
    "Decay",
    "Encoder",
    "Gaussian",
    "Inference",
    "Intensity",
    "KLAnnealing",
    "LatentModel",
    "ODECell",
    "PointProcess",
    "Posterior",
    "RNNDynamics",
    "SeriesModel",
    "elbo",
    "log_likelihood",
    "squared_errors",
]
