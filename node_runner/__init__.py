"""node_runner: one runner for neural ODEs on a differentiable ODE-solver core of its own."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "odeint", "odeint_adjoint"]


def __getattr__(name: str) -> Any:
    """odeint and odeint_adjoint, imported when asked for: --help should not wait for torch."""
    if name in ("odeint", "odeint_adjoint"):
        from . import ode

        return getattr(ode, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
