"""Steppers: explicit and implicit Runge-Kutta, multistep methods, and SciPy's solvers."""
