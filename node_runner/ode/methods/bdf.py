"""Backward differentiation formulas of variable order 1 to 5 and variable step (Hairer, Norsett,
Wanner, Solving ODEs I, III.5; Gear 1971), for stiff problems.
"""

from ..steppers.bdf import BDF

METHOD = BDF()
