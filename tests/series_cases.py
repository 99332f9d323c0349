"""Random series, and models of them as conf/ composes them."""

from __future__ import annotations

from functools import cache

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from node_runner.data.series import Series
from node_runner.ode import Solver
from node_runner.runs import config

config.register()
LATENT = ["latent_ode", "latent_rnn", "rnn_vae"]
AUTOREGRESSIVE = ["rnn", "rnn_gaps", "rnn_decay", "gru_d", "ode_rnn"]
MODELS = [*LATENT, *AUTOREGRESSIVE]


def random_series(lengths=(5, 2, 1, 4), dim=2, whole=False, seed=1):
    """Series of these lengths in float64, about half of their features observed unless whole."""
    kind = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    lengths, shape = torch.tensor(lengths), (len(lengths), max(lengths))
    steps = torch.arange(shape[1])
    times = (0.1 + torch.rand(shape, **kind)).cumsum(1)
    times = times.gather(1, torch.minimum(steps, lengths[:, None] - 1))
    mask = torch.rand(*shape, dim, **kind) < (1 if whole else 0.5)
    one = torch.rand(*shape, dim, **kind).argmax(2, keepdim=True)  # at least one feature is seen
    mask = mask.scatter(2, one, True) & (steps < lengths[:, None])[:, :, None]
    return Series(times, torch.randn(*shape, dim, **kind) * mask, mask)


def alone(series, i):
    """One series of a batch, without padding."""
    n = int(series.lengths[i])
    return Series(*(part[i : i + 1, :n] for part in series))


def shuffled(series, order):
    return Series(*(part[order] for part in series))


@cache
def settings(model, task="latent_spirals"):
    """Of a small model."""
    small = ["series.state=5", "series.latent=3"]
    small += ["series.ode_hidden=[8]", "series.cell_ode_hidden=[8]"]
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        return compose("config", [f"task={task}", f"model={model}", *small])


def spread(module, scale=0.5):
    """The same module in float64, all its parameters drawn anew, so that none is 0."""
    with torch.no_grad():
        for p in module.double().parameters():
            p.copy_(scale * torch.randn(p.shape, dtype=torch.float64))
    return module


def build(model):
    """A small model in float64 whose solves are as good as exact."""
    torch.manual_seed(0)
    found = instantiate(settings(model).model, _convert_="all").double()
    return solved_with(found, Solver("dopri8", 1e-9, 1e-9))


def solved_with(module: nn.Module, solver: Solver):
    """The module, all its solvers replaced."""
    for part in module.modules():
        if hasattr(part, "solver"):
            part.solver = solver
    return module
