"""Adams methods of variable order 1 to 12 and variable step, as a predictor and corrector with two
evaluations a step (Shampine and Gordon 1975): the solver of the Neural ODE paper (Chen et al. 2018,
arXiv:1806.07366, section 3, by LSODE and VODE).
"""

from ..steppers.adams import Adams

METHOD = Adams()
