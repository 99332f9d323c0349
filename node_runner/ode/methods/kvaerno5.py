"""Kvaerno's pair of orders 5 and 4 of seven stages, the first explicit: both L-stable, the solution
and the embedded one points of stages (BIT 44, 2004).

Its third node is 1.23: f is evaluated past the end of a step.
"""

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

G = 0.26
SIXTH = (
    0.13855640231268224,
    0.0,
    -0.04245337201752043,
    0.02446657898003141,
    0.61943039072480676,
    G,
    0.0,
)
LAST = (
    0.13659751177640291,
    0.0,
    -0.05496908796538376,
    -0.04118626728321046,
    0.62993304899016403,
    0.06962479448202728,
    G,
)
METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=5,
        c=(0.0, 0.52, 1.230333209967908, 0.8957659843500759, 0.43639360985864756, 1.0, 1.0),
        a=(
            (0.0,) * 7,
            (G, G, 0.0, 0.0, 0.0, 0.0, 0.0),
            (0.13, 0.84033320996790809, G, 0.0, 0.0, 0.0, 0.0),
            (0.22371961478320505, 0.47675532319799699, -0.06470895363112615, G, 0.0, 0.0, 0.0),
            (
                0.16648564323248321,
                0.10450018841591720,
                0.03631482272098715,
                -0.13090704451073998,
                G,
                0.0,
                0.0,
            ),
            SIXTH,
            LAST,
        ),
        b=LAST,
        b_error=tuple(b - e for b, e in zip(LAST, SIXTH, strict=True)),
        # The shortest of the vectors that meet the conditions, of which there are five for seven
        # weights, since all stages are of order 2.
        bump=(
            -0.48424934964585725,
            0.0,
            0.9921747011803447,
            -0.6241080331021552,
            1.380100427378418,
            -0.6319588729053769,
            -0.6319588729053769,
        ),
    )
)
