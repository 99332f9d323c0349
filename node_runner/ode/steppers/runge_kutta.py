"""Runge-Kutta methods, explicit and implicit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..tableau import Tableau
from .implicit_tableau import ImplicitTableau


@dataclass(frozen=True)
class RungeKutta:
    """A method that its tableau describes; see ``stepper.Method``.

    Args:
        tableau: its coefficients.
    """

    tableau: Tableau | ImplicitTableau

    one_step: ClassVar[bool] = True
    variable: ClassVar[bool] = False

    @property
    def order(self) -> int:
        return self.tableau.order

    @property
    def adaptive(self) -> bool:
        return self.tableau.adaptive

    @property
    def exponent(self) -> int:
        return self.tableau.exponent
