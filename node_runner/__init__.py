"""node_runner: one runner for neural ODEs on a differentiable ODE-solver core of its own."""

from .ode import odeint, odeint_adjoint

__version__ = "0.1.0"
__all__ = ["__version__", "odeint", "odeint_adjoint"]
