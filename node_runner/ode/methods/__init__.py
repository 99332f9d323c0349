"""Methods, one file each: the folder is the registry.

A file ``name.py`` that defines ``TABLEAU``, the coefficients of an explicit Runge-Kutta method, or
``METHOD``, a ``stepper.Method`` of any kind, is the method ``name``; nothing else has to be edited.
A module elsewhere that defines one of them is a method too, by its dotted name.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ..errors import unknown_name
from ..stepper import Method
from ..steppers.explicit import ExplicitRungeKutta
from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau
from ..tableau import Tableau

__all__ = ["get", "names", "resolve"]

# The attributes of ``stepper.Method``.
_ATTRIBUTES = ("order", "adaptive", "one_step", "implicit", "exponent", "variable", "start")
_POSSIBLE = (
    "must be a name of node_runner.ode.methods, the dotted name of a module that defines TABLEAU "
    "or METHOD, a Tableau or a Method"
)


def names() -> list[str]:
    """Return the names of all methods of the folder, in alphabetical order."""
    return sorted(module.name for module in iter_modules(__path__))


@cache
def get(name: str) -> Method:
    """Return a method by its name or by the dotted name of a module or an object in one.

    Raises:
        ValueError: if there is no such method; for a name without dots the message lists all and
            suggests the nearest.
    """
    if "." in name:
        return _as_method(name, _import(name))
    if name not in names():
        raise unknown_name("method", name, names())
    return _as_method(name, import_module(f"{__name__}.{name}"))


def resolve(method: str | Tableau | ImplicitTableau | Method) -> tuple[str, Method]:
    """Return the name, for messages, and the method that the argument of ``Solver`` stands for.

    Raises:
        ValueError: if it is not a method.
    """
    if isinstance(method, str):
        return method, get(method)
    found = _as_method(method, method)
    kind = type(method).__name__
    return getattr(method, "name", f"{kind} of order {found.order}"), found


def _import(name: str) -> object:
    """Import a module, or an object of one, by its dotted name."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
    parent, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(parent), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{parent}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"method is {name!r}, but there is no module {error.name!r}: {_POSSIBLE}"
        ) from None
    except AttributeError:
        raise ValueError(
            f"method is {name!r}, but module {parent!r} has no {attribute!r}: {_POSSIBLE}"
        ) from None


def _as_method(given: object, value: Any) -> Method:
    """Return the method that a module, a tableau or a method is."""
    value = getattr(value, "METHOD", getattr(value, "TABLEAU", value))
    if isinstance(value, Tableau):
        return ExplicitRungeKutta(value)
    if isinstance(value, ImplicitTableau):
        return ImplicitRungeKutta(value)
    missing = [name for name in _ATTRIBUTES if not hasattr(value, name)]
    if missing or isinstance(value, type):
        without = f" without {', '.join(missing)}" if len(missing) < len(_ATTRIBUTES) else ""
        kind = "a class" if isinstance(value, type) else f"a {type(value).__name__}{without}"
        raise ValueError(f"method is {given!r}, {kind}: {_POSSIBLE}")
    return value
