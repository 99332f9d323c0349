"""Dormand and Prince's pair of orders 5 and 4, first same as last (J. Comp. Appl. Math. 6(1),
1980).

The quartic interpolant is Shampine's (Math. Comp. 46(173), 1986), as in Hairer, Norsett, Wanner,
II.6, eq. (6.12).
"""

from ..tableau import Row, Tableau

B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0)
B_EMBEDDED = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)

# The Hermite cubic leaves one free quartic bump, theta^2 (1 - theta)^2 sum_i D_i k_i, which raises
# its order to 4.
D = (
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)


def interpolant_row(b: float, d: float, first: float, last: float) -> Row:
    """theta^2 (3 - 2 theta) b + theta (theta - 1)^2 first + theta^2 (theta - 1) last + theta^2
    (theta - 1)^2 d.
    """
    return (first, 3 * b - 2 * first - last + d, -2 * b + first + last - 2 * d, d)


TABLEAU = Tableau(
    order=5,
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        B[:-1],
    ),
    b=B,
    b_error=tuple(b - e for b, e in zip(B, B_EMBEDDED, strict=True)),
    interpolant=tuple(
        interpolant_row(b, d, first, last)
        for b, d, first, last in zip(
            B, D, (1, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 1), strict=True
        )
    ),
)
