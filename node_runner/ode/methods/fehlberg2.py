"""Fehlberg's pair of orders 2 and 1 (Fehlberg 1969, NASA TR R-315, table II).

Its error estimate is dt / 512 (k_3 - k_1), as small as the first-order formula is good; the error
of the second-order solution that is propagated is larger, up to 1,258 times the tolerance where it
was measured. Prefer ``adaptive_heun`` or ``bosh3`` where the tolerance should mean what it says.
"""

from ..tableau import Tableau

TABLEAU = Tableau(
    order=2,
    c=(0.0, 1 / 2, 1.0),
    a=((), (1 / 2,), (1 / 256, 255 / 256)),
    b=(1 / 512, 255 / 256, 1 / 512),
    b_error=(1 / 512 - 1 / 256, 0.0, 1 / 512),
)
