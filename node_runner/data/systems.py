"""Known systems dx/dt = f(x), to learn f from and to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor

Name = Literal["spiral", "lotka_volterra", "sir", "newton_cooling"]
State = tuple[float, ...]


@dataclass(frozen=True)
class System:
    """dx/dt = f(x).

    Attributes:
        states: names of the D entries of x.
        rates: f by entries, on numbers and on tensors alike.
        start: x(0) of the first trajectory.
        starts: two points; further trajectories start somewhere on the line between them.
        until: end of what is observed, unless told otherwise.
        step: of ``solve``, small enough for an error of 1e-9 of the states' size (tested).
    """

    states: tuple[str, ...]
    rates: Callable[..., tuple[Any, ...]]
    start: State
    starts: tuple[State, State]
    until: float
    step: float

    def f(self, x: Tensor) -> Tensor:
        """dx/dt at x, (..., D) each."""
        return torch.stack(self.rates(*x.unbind(-1)), dim=-1)

    def solve(self, start: State, times: Sequence[float]) -> list[State]:
        """x at increasing times, x(0) = start, by the classic Runge-Kutta method in float64.

        Not by our own solver: data and solver are rooms of one floor, which do not import each
        other, and what a solver's work is judged by should not come from it. Numbers of Python are
        exact enough, and quicker than tensors of two or three entries.
        """
        t, x, path = 0.0, start, []
        for end in times:
            count = ceil((end - t) / self.step)
            for _ in range(count):
                x = self.advance(x, (end - t) / count)
            t = end
            path.append(x)
        return path

    def advance(self, x: State, h: float) -> State:
        """One step of length h."""
        k1 = self.rates(*x)
        k2 = self.rates(*(a + h / 2 * k for a, k in zip(x, k1, strict=True)))
        k3 = self.rates(*(a + h / 2 * k for a, k in zip(x, k2, strict=True)))
        k4 = self.rates(*(a + h * k for a, k in zip(x, k3, strict=True)))
        ks = zip(x, k1, k2, k3, k4, strict=True)
        return tuple(a + h / 6 * (p + 2 * q + 2 * r + s) for a, p, q, r, s in ks)


def spiral(x: Any, y: Any) -> tuple[Any, Any]:
    """dx/dt = -0.1 x^3 - 2 y^3, dy/dt = 2 x^3 - 0.1 y^3: the example that comes with torchdiffeq
    (examples/ode_demo.py, where x^3 is a row and stands before the matrix). Inwards it slows down:
    the first two and a half turns take 5 of the example's 25 time units, and lead from 2 to 1.
    """
    return -0.1 * x**3 - 2 * y**3, 2 * x**3 - 0.1 * y**3


def lotka_volterra(prey: Any, predators: Any) -> tuple[Any, Any]:
    """dx/dt = 1.5 x - x y, dy/dt = x y - 3 y (Lotka 1925; Volterra 1926), with the parameters and
    the start, (1, 1), of SciML's examples (docs.sciml.ai/SciMLSensitivity, parameter estimation).
    x - 3 log x + y - 1.5 log y is conserved. The period from (1, 1) is 3.3.
    """
    eaten = prey * predators
    return 1.5 * prey - eaten, eaten - 3 * predators


def sir(s: Any, i: Any, r: Any) -> tuple[Any, Any, Any]:
    """dS/dt = -b S I, dI/dt = b S I - g I, dR/dt = g I in fractions of a population, whose sum is
    1 (Kermack and McKendrick 1927); b = 0.5 and g = 0.2 a day, so that one infects 2.5.
    """
    infected, recovered = 0.5 * s * i, 0.2 * i
    return -infected, infected - recovered, recovered


def newton_cooling(temperature: Any) -> tuple[Any]:
    """dT/dt = -k (T - A) (Newton 1701), T(t) = A + (T(0) - A) e^(-k t): a cup of A + 70 = 90
    degrees in a room of A = 20, k = 0.1 a minute.
    """
    return (-0.1 * (temperature - 20.0),)


SYSTEMS: dict[Name, System] = {
    "spiral": System(("x", "y"), spiral, (2.0, 0.0), ((1.0, 0.0), (2.0, 0.0)), 5.0, 1e-3),
    "lotka_volterra": System(
        ("prey", "predators"), lotka_volterra, (1.0, 1.0), ((1.0, 1.0), (2.5, 1.5)), 7.0, 2e-3
    ),
    "sir": System(
        ("S", "I", "R"), sir, (0.99, 0.01, 0.0), ((0.99, 0.01, 0.0), (0.9, 0.1, 0.0)), 40.0, 0.05
    ),
    "newton_cooling": System(("T",), newton_cooling, (90.0,), ((30.0,), (100.0,)), 30.0, 0.1),
}
