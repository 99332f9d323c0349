"""Copies of a module that share its parameters and differ in a few named parts."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def variant(
    module: M, modules: Mapping[str, nn.Module | None] | None = None, **attributes: object
) -> M:
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


def with_solver(module: M, solver: object, **attributes: object) -> M:
    """Return a ``variant`` of a model in which every ODE is solved by another solver.

    Modules without an attribute named here are shared, not copied. A class whose solver is a part
    of the model (a recurrent cell with Euler steps of a given length) sets ``fixed_solver = True``
    and is shared as well.

    Args:
        module: Model, at any depth of which modules have an attribute ``solver``.
        solver: ODE solver to put there.
        attributes: Further attributes to replace wherever a module has them.

    Example:
        >>> from node_runner.fields import MLP
        >>> from node_runner.ode import Solver
        >>> from node_runner.odenet import ODENet
        >>> net = ODENet(nn.Identity(), MLP(2), nn.Linear(2, 3), Solver("rk4", step_size=0.5))
        >>> other = with_solver(net, Solver("dopri5"))
        >>> other.solver.method, net.solver.method, other.field is net.field
        ('dopri5', 'rk4', True)
    """
    if getattr(module, "fixed_solver", False):
        return module
    attributes["solver"] = solver
    settings = {name: value for name, value in attributes.items() if name in vars(module)}
    modules = {
        name: None if child is None else with_solver(child, **attributes)
        for name, child in module._modules.items()
    }
    if not settings and all(modules[name] is child for name, child in module._modules.items()):
        return module
    return variant(module, modules, **settings)
