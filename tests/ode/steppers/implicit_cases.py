"""A small loop over implicit steppers, and fields to take them through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from node_runner.ode.control import FixedControl, PIControl
from node_runner.ode.error_norm import ErrorNorm
from node_runner.ode.rhs import Rhs
from node_runner.ode.state import Layout, Quadrature, RightSide
from node_runner.ode.stats import Counts
from node_runner.ode.stepper import Interpolant, Stepper
from node_runner.ode.steppers.implicit import ImplicitRungeKutta


@dataclass
class Solve:
    """A solve from t = 0, step by step."""

    method: ImplicitRungeKutta
    f: Callable
    y0: Tensor | tuple[Tensor, ...]
    quadratures: list[Quadrature] = field(default_factory=list)
    tolerance: float = 1e-6
    graph: bool = False
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.layout = Layout(self.y0, self.quadratures)
        rhs = Rhs(self.f, self.layout.device)
        self.norm = ErrorNorm(
            self.layout, self.tolerance, 1e-3 * self.tolerance, [1.0] * len(self.layout.sizes)
        )
        entries = self.y0 if isinstance(self.y0, tuple) else (self.y0,)
        self.y = self.layout.start([*entries, *(q.start for q in self.quadratures)])
        self.right = RightSide(rhs, self.layout, self.counts)
        self.interpolants: list[Interpolant] = []

    def start(self, **options: object) -> Stepper:
        self.stepper = replace(self.method, **options).start(
            self.right, self.layout, self.norm, self.graph
        )
        return self.stepper

    def fixed(self, end: float, steps: int, dense: bool = False) -> Tensor:
        """The end of so many equal steps, solved to rounding."""
        self.start(fixed=True)
        return self.follow(FixedControl(end / steps), end, dense)

    def adaptive(self, end: float, first: float = 1e-4) -> Tensor:
        self.start()
        return self.follow(PIControl(first, self.method.exponent), end)

    def follow(self, control: FixedControl | PIControl, end: float, dense: bool = False) -> Tensor:
        t, y = 0.0, self.y
        control.begin(t)
        while t != end:
            t1 = control.propose(t, end)
            attempt = self.stepper.attempt(t, t1, y)
            if attempt.error is not None and not self.accepts(control, t1 - t, y, attempt):
                self.counts.rejected += 1
                continue
            self.stepper.accept()
            self.counts.accepted += 1
            if dense:
                self.interpolants.append(self.stepper.interpolant())
            t, y = t1, attempt.y1
        return y

    def accepts(self, control: PIControl, dt: float, y: Tensor, attempt: object) -> bool:
        with torch.no_grad():
            ratio = self.norm.error_ratios(attempt.error / self.norm.scale(y, attempt.y1))[0]
        return control.judge(dt, dt * ratio)


def smooth(t: Tensor, y: Tensor) -> Tensor:
    """Nonlinear, and dependent on time; rows do not see each other."""
    return torch.sin(y.flip(-1)) + torch.cos(t) * y - 0.3 * y**3


def robertson(t: Tensor, y: Tensor) -> Tensor:
    """Robertson's reaction (Hairer, Wanner, Solving ODEs II, eq. (IV.1.4))."""
    a, b, c = y.unbind(-1)
    slow, back, fast = 0.04 * a, 1e4 * b * c, 3e7 * b * b
    return torch.stack([back - slow, slow - back - fast, fast], -1)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    """Van der Pol's oscillator with mu = 100."""
    x, v = y.unbind(-1)
    return torch.stack([v, 100 * (1 - x * x) * v - x], -1)
