"""node_runner: one runner for neural ODEs on a differentiable ODE-solver core of its own."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
FUNCTIONS = ("odeint", "odeint_adjoint", "odeint_dense", "odeint_event")
__all__ = ["__version__", *FUNCTIONS]


def __getattr__(name: str) -> Any:
    """Those of ``ode.torchdiffeq``, imported when asked for: --help should not wait for torch."""
    if name in FUNCTIONS:
        from .ode import torchdiffeq

        return getattr(torchdiffeq, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
