"""The ways to solve: a method that chooses its steps, one on a grid, SciPy's."""

from __future__ import annotations

from .adaptive import Adaptive
from .options import ADAPTIVE, SCIPY
from .setting import Setting
from .stepped import Grid, Scipy


def means_of(setting: Setting) -> Adaptive | Grid | Scipy:
    """How the setting's method solves."""
    if setting.method in ADAPTIVE:
        return Adaptive(setting)
    return Scipy(setting) if setting.method == SCIPY else Grid(setting)
