"""Engines, which execute step attempts op by op or in one compiled graph with f inside.

- ``eager``: the loop of ``integration.py`` and the steps of ``step.py``, whatever f does.
- ``compiled``: a step attempt is one graph, and a solve of which nothing but its end is wanted is
  one graph as a whole, step control included.

The engine changes who runs the arithmetic, not what is computed: stages, error ratio and step
control are the same formulas, so that fixed grids agree to rounding and adaptive ones to the
tolerance.
"""

from .compiled import Compiled

ENGINES: dict[str, Compiled | None] = {"eager": None, "compiled": Compiled()}

__all__ = ["ENGINES", "Compiled"]
