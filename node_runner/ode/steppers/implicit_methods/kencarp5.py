"""Kennedy and Carpenter's ARK5(4)8L[2]SA-ESDIRK: a pair of orders 5 and 4 of eight stages, the
first explicit; L-stable, all nodes inside the step (Appl. Numer. Math. 44, 2003).
"""

from math import fsum

from ...tableau import Row
from ..implicit import ImplicitRungeKutta
from ..implicit_tableau import ImplicitTableau

G = 41 / 200
C = (
    0.0,
    41 / 100,
    2935347310677 / 11292855782101,
    1426016391358 / 7196633302097,
    92 / 100,
    24 / 100,
    3 / 5,
    1.0,
)
LAST = (
    -872700587467 / 9133579230613,
    0.0,
    0.0,
    22348218063261 / 9555858737531,
    -1143369518992 / 8141816002931,
    -39379526789629 / 19018526304540,
    32727382324388 / 42900044865799,
    G,
)
EMBEDDED = (
    -975461918565 / 9796059967033,
    0.0,
    0.0,
    78070527104295 / 32432590147079,
    -548382580838 / 3424219808633,
    -33438840321285 / 15594753105479,
    3629800801594 / 4656183773603,
    4035322873751 / 18575991585200,
)
ROWS = (
    (0.0,),
    (G, G),
    (41 / 400, -567603406766 / 11931857230679, G),
    (683785636431 / 9252920307686, 0.0, -110385047103 / 1367015193373, G),
    (
        3016520224154 / 10081342136671,
        0.0,
        30586259806659 / 12414158314087,
        -22760509404356 / 11113319521817,
        G,
    ),
    (
        218866479029 / 1489978393911,
        0.0,
        638256894668 / 5436446318841,
        -1179710474555 / 5321154724896,
        -60928119172 / 8023461067671,
        G,
    ),
    (
        1020004230633 / 5715676835656,
        0.0,
        25762820946817 / 25263940353407,
        -2161375909145 / 9755907335909,
        -211217309593 / 5846859502534,
        -4269925059573 / 7827059040719,
        G,
    ),
    LAST,
)


def completed(row: Row, node: float) -> Row:
    """A row whose sum is its node and whose stage is of order 2: its last weight before the
    diagonal and its first follow from the others, as the printed ones do to 12 digits only.
    """
    last = len(row) - 2
    others = [w * c for j, (w, c) in enumerate(zip(row, C, strict=False)) if j != last]
    weight = (node * node / 2 - fsum(others)) / C[last]
    middle = (*row[1:last], weight, *row[last + 1 :])
    return (node - fsum(middle), *middle, *[0.0] * (8 - len(row)))


ROWS = (
    *(row + (0.0,) * (8 - len(row)) for row in ROWS[:2]),
    *map(completed, ROWS[2:-1], C[2:-1]),
    LAST,
)
METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=5,
        c=C,
        a=ROWS,
        b=LAST,
        b_error=tuple(b - e for b, e in zip(LAST, EMBEDDED, strict=True)),
        # The shortest of the vectors that meet the conditions, of which there are five for eight
        # weights, since all stages are of order 2.
        bump=(
            -1.6885241762783205,
            0.0,
            1.1264148034499777,
            1.1826329269956195,
            -0.9851963551263518,
            1.1817635598655138,
            -2.281800823537336,
            1.4647100646309075,
        ),
    )
)
