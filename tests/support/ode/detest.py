"""The problems of DETEST with their solutions: Hull, Enright, Fellen, Sedgwick, Comparing numerical
methods for ordinary differential equations, SIAM J. Numer. Anal. 9(4), 1972.

Classes A (single equations), B (small systems), C (moderate systems), D (orbits of eccentricity
0.1 to 0.9) and E (second order equations), on [0, 10] instead of [0, 20].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, cosh, exp, factorial, log, sin, sinh, sqrt, tanh

import pytest
import torch

END = 10.0


@dataclass(frozen=True)
class Problem:
    """y' = f(t, y), y(0) = start; ``exact`` is y(END), or None where no closed form is known."""

    f: Callable
    start: Sequence[float]
    exact: Sequence[float] | None = None

    @property
    def y0(self):
        return torch.tensor(self.start, dtype=torch.float64)


def system(*rates):
    """f whose rates are functions of t and the components of y."""
    return lambda t, y: torch.stack([rate(t, *y.unbind()) for rate in rates])


def chain(*rates):
    """y_i' = r_(i-1) y_(i-1) - r_i y_i, nothing leaving the last."""
    r = torch.tensor([*rates, 0.0], dtype=torch.float64)
    return lambda t, y: torch.cat([y.new_zeros(1), (r * y)[:-1]]) - r * y


def diffusion(n):
    def f(t, y):
        padded = torch.cat([y.new_zeros(1), y, y.new_zeros(1)])
        return padded[:-2] - 2 * y + padded[2:]

    return f


def diffused(n):
    """The matrix has eigenvectors sin(j k pi / (n + 1))."""
    k = torch.arange(1, n + 1, dtype=torch.float64)
    vectors = torch.sin(torch.outer(k, k) * torch.pi / (n + 1)) * sqrt(2 / (n + 1))
    decay = torch.exp(END * (2 * torch.cos(k * torch.pi / (n + 1)) - 2))
    return (vectors @ (decay * vectors[0])).tolist()


def orbit(t, y):
    place, speed = y[:2], y[2:]
    return torch.cat([speed, -place / place.square().sum() ** 1.5])


def kepler(e):
    """Position and velocity at END, by Kepler's equation u - e sin u = t."""
    u = END
    for _ in range(100):
        u -= (u - e * sin(u) - END) / (1 - e * cos(u))
    b, rate = sqrt(1 - e * e), 1 / (1 - e * cos(u))
    return cos(u) - e, b * sin(u), -sin(u) * rate, b * cos(u) * rate


def torus_1(t, a, b, c):
    return -b - a * c / torch.hypot(a, b)


def torus_2(t, a, b, c):
    return a - b * c / torch.hypot(a, b)


def bessel(x):
    """J_(1/2) and its derivative."""
    scale = sqrt(2 / (torch.pi * x))
    return scale * sin(x), scale * (cos(x) - sin(x) / (2 * x))


def exact_decay(n):
    """Poisson's probabilities, the last of them whatever is left."""
    found = [exp(-END) * END**i / factorial(i) for i in range(n - 1)]
    return [*found, 1 - sum(found)]


def exact_growing_decay(n):
    """y_(i+1) = p (1 - p)^i, p = exp(-t), the last whatever is left."""
    p = exp(-END)
    found = [p * (1 - p) ** i for i in range(n - 1)]
    return [*found, (1 - p) ** (n - 1)]


SPEED = sqrt(0.032 / 0.4)  # terminal, of the falling body of E4

PROBLEMS = {
    "A1": Problem(lambda t, y: -y, [1.0], [exp(-END)]),
    "A2": Problem(lambda t, y: -0.5 * y**3, [1.0], [1 / sqrt(1 + END)]),
    "A3": Problem(lambda t, y: y * torch.cos(t), [1.0], [exp(sin(END))]),
    "A4": Problem(lambda t, y: y / 4 * (1 - y / 20), [1.0], [20 / (1 + 19 * exp(-END / 4))]),
    "A5": Problem(lambda t, y: (y - t) / (y + t), [4.0]),
    "B1": Problem(
        system(lambda t, a, b: 2 * (a - a * b), lambda t, a, b: -(b - a * b)),
        [1.0, 3.0],
    ),
    "B2": Problem(
        system(
            lambda t, a, b, c: -a + b,
            lambda t, a, b, c: a - 2 * b + c,
            lambda t, a, b, c: b - c,
        ),
        [2.0, 0.0, 1.0],
        [
            1 + exp(-END) / 2 + exp(-3 * END) / 2,
            1 - exp(-3 * END),
            1 - exp(-END) / 2 + exp(-3 * END) / 2,
        ],
    ),
    "B3": Problem(
        system(lambda t, a, b, c: -a, lambda t, a, b, c: a - b * b, lambda t, a, b, c: b * b),
        [1.0, 0.0, 0.0],
    ),
    "B4": Problem(
        system(torus_1, torus_2, lambda t, a, b, c: a / torch.hypot(a, b)), [3.0, 0.0, 0.0]
    ),
    "B5": Problem(
        system(
            lambda t, a, b, c: b * c,
            lambda t, a, b, c: -a * c,
            lambda t, a, b, c: -0.51 * a * b,
        ),
        [0.0, 1.0, 1.0],
    ),
    "C1": Problem(chain(*[1.0] * 9), [1.0] + [0.0] * 9, exact_decay(10)),
    "C2": Problem(chain(*range(1, 10)), [1.0] + [0.0] * 9, exact_growing_decay(10)),
    "C3": Problem(diffusion(10), [1.0] + [0.0] * 9, diffused(10)),
    **{
        f"D{i}": Problem(orbit, [1 - e, 0.0, 0.0, sqrt((1 + e) / (1 - e))], kepler(e))
        for i, e in ((1, 0.1), (3, 0.5), (5, 0.9))
    },
    "E1": Problem(
        system(
            lambda t, a, b: b,
            lambda t, a, b: -(b / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * a),
        ),
        bessel(1.0),
        bessel(END + 1),
    ),
    "E2": Problem(system(lambda t, a, b: b, lambda t, a, b: (1 - a * a) * b - a), [2.0, 0.0]),
    "E3": Problem(
        system(lambda t, a, b: b, lambda t, a, b: a**3 / 6 - a + 2 * torch.sin(2.78535 * t)),
        [0.0, 0.0],
    ),
    "E4": Problem(
        system(lambda t, a, b: b, lambda t, a, b: 0.032 - 0.4 * b * b),
        [30.0, 0.0],
        [30 + log(cosh(0.4 * SPEED * END)) / 0.4, SPEED * tanh(0.4 * SPEED * END)],
    ),
    "E5": Problem(
        system(lambda t, a, b: b, lambda t, a, b: torch.sqrt(1 + b * b) / (25 - t)),
        [0.0, 0.0],
        [
            (25 * log(25 / (25 - END)) + ((25 - END) ** 2 - 625) / 50) / 2,
            sinh(log(25 / (25 - END))),
        ],
    ),
}


@cache
def solution(name):
    """y(END): the closed form, or by SciPy's DOP853."""
    problem = PROBLEMS[name]
    if problem.exact is not None:
        return torch.tensor(problem.exact, dtype=torch.float64)
    integrate = pytest.importorskip("scipy.integrate", reason="SciPy is the reference")

    def f(t, y):
        return problem.f(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y.copy())).numpy()

    found = integrate.solve_ivp(f, (0.0, END), problem.start, "DOP853", rtol=1e-12, atol=1e-13)
    return torch.from_numpy(found.y[:, -1].copy())
