"""Adams-Bashforth's method of order 4 with steps of one size (Hairer, Norsett, Wanner, III.1),
started by two steps of the 3/8 rule.
"""

from ..steppers.fixed_adams import FixedAdams

METHOD = FixedAdams(corrects=False, max_order=5)
