"""Tsitouras's pair of orders 5 and 4, first same as last (Computers & Mathematics with Applications
62(2), 2011).

The quartic interpolant is that of the same paper. The propagated row is the one of order 5:
torchdiffeq propagates the embedded row, and so observes order 4.
"""

from ..tableau import Row, Tableau

B = (
    0.09646076681806523,
    0.01,
    0.4798896504144996,
    1.379008574103742,
    -3.290069515436081,
    2.324710524099774,
    0.0,
)


def factored(scale: float, p: float, q: float) -> Row:
    """scale theta^2 (theta^2 - p theta + q), as the paper prints its interpolant, by rising powers
    from theta.
    """
    return (0.0, scale * q, -scale * p, scale)


def roots(scale: float, first: float, second: float) -> Row:
    """scale theta^2 (theta - first) (theta - second)."""
    return factored(scale, first + second, first * second)


def first_row() -> Row:
    """-1.053... theta (theta - 1.3299...) (theta^2 - 1.4364... theta + 0.7139...)."""
    scale, root, p, q = (
        -1.0530884977290216,
        1.3299890189751412,
        1.4364028541716351,
        0.7139816917074209,
    )
    return (-scale * root * q, scale * (q + root * p), -scale * (p + root), scale)


TABLEAU = Tableau(
    order=5,
    c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    a=(
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
        B[:-1],
    ),
    b=B,
    b_error=(
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        1 / 66,
    ),
    interpolant=(
        first_row(),
        factored(0.1017, 2.1966568338249754, 1.2949852507374631),
        factored(2.490627285651252793, 2.38535645472061657, 1.57803468208092486),
        roots(-16.54810288924490272, 1.21712927295533244, 0.61620406037800089),
        roots(47.37952196281928122, 1.203071208372362603, 0.658047292653547382),
        roots(-34.87065786149660974, 1.2, 2 / 3),
        roots(2.5, 1.0, 0.6),
    ),
)
