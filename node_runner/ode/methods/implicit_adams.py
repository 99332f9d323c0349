"""Adams-Bashforth's method as predictor, Adams-Moulton's of order 5 as corrector, iterated until it
settles, with steps of one size (Hairer, Norsett, Wanner, III.1).
"""

from ..steppers.fixed_adams import FixedAdams

METHOD = FixedAdams(corrects=True, max_order=5, max_iters=20)
