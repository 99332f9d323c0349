"""A copy of a module that shares its parameters and differs in a few named parts."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def variant(module: M, modules: Mapping[str, nn.Module] | None = None, **attributes: object) -> M:
    """Return a copy of ``module`` with some submodules and attributes replaced.

    All else is that of ``module``: class, parameters and buffers (the same tensors), other
    submodules, and whether it is in training mode. Nothing is set on ``module`` or its submodules.

    Args:
        module: Module to copy.
        modules: Replaced submodules by name.
        attributes: Replaced plain attributes.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Tanh()).eval()
        >>> other = variant(net, {"1": nn.ReLU()})
        >>> other[0] is net[0], other.training, net[1]
        (True, False, Tanh())
    """
    made = copy(module)
    made._modules = {**module._modules, **(modules or {})}
    vars(made).update(attributes)
    return made
