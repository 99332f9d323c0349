"""Methods, one file each: the folder is the registry.

A file ``name.py`` that defines ``TABLEAU``, the coefficients of an explicit Runge-Kutta method, or
``METHOD``, a ``stepper.Method`` of any kind, is the method ``name``; nothing else has to be edited.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ..errors import unknown_name
from ..stepper import Method
from ..steppers.explicit import ExplicitRungeKutta


def names() -> list[str]:
    """All methods, in alphabetical order."""
    return sorted(module.name for module in iter_modules(__path__))


@cache
def get(name: str) -> Method:
    """The method ``name``.

    Raises:
        ValueError: if there is no such method; the message lists all and suggests the nearest.
    """
    if name not in names():
        raise unknown_name("method", name, names())
    module = import_module(f"{__name__}.{name}")
    return module.METHOD if hasattr(module, "METHOD") else ExplicitRungeKutta(module.TABLEAU)
