"""Diagnosis of a solve that cannot go on: its cause, and what to try.

Only called once a solve has failed, so that the loop pays nothing for it.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .error_norm import below_rounding
from .errors import IMPLICIT, SolverError

if TYPE_CHECKING:
    from .integration import Integration

ITERATIONS = 12  # of the power method; the error of the last step is a good first vector
STABLE = 1.0  # rate * step above which a decay, not accuracy, limits the steps of explicit methods
JUMP = 30.0  # no explicit method here is stable beyond: above it f is not smooth
ROUGH = 0.3  # a share of rejected steps that is not seen where f is smooth

MORE = "a larger max_steps (max_num_steps of odeint)"

Advice = tuple[str, str]


def solver_error(integration: Integration, cause: str, advice: Advice | None = None) -> SolverError:
    """Return the error that says where ``path`` stopped, why, and what to try.

    Args:
        advice: two remedies where the cause is known; both are looked for unless given.
    """
    found = integration.stepper.diagnose()
    if found.error is not None:
        integration.last_error = found.error / integration.norm.scale(integration.y, integration.y)
    culprit, advice = (
        ("", advice) if advice is not None else _diagnose(integration, cause, found.culprit)
    )
    component = "no component: none has been measured"
    if integration.last_error is not None and integration.last_error.numel():
        size = integration.last_error.detach().abs()
        component = integration.layout.locate(int(torch.where(size.isnan(), inf, size).argmax()))
    return SolverError(
        method=integration.name,
        t=integration.t,
        dt=integration.last_dt,
        error_ratio=integration.last_ratio,
        component=component,
        steps=(integration.counts.accepted, integration.counts.rejected),
        cause=f"{cause}; {culprit}" if culprit else cause,
        advice=advice,
    )


def _diagnose(integration: Integration, cause: str, culprit: str) -> tuple[str, Advice]:
    """Find the culprit ("" where nothing is known) and two remedies.

    Args:
        culprit: what the stepper knows of it.
    """
    if not bool(torch.isfinite(integration.y).all()):
        return "the state itself has NaN or inf", (
            "a smaller learning rate",
            "checking the data for NaN",
        )
    if culprit:
        return culprit, (
            "a bounded or smoother activation in f (tanh, softplus)",
            "a smaller learning rate or weight decay",
        )
    if not integration.method.adaptive:
        return "", ("another step_size", f"{MORE} if so many steps are meant")
    if below_rounding(integration.norm.scale(integration.y, integration.y), integration.y):
        return f"the tolerance is below the rounding of the {integration.y.dtype} state", (
            "a float64 state",
            "a larger rtol and atol",
        )
    easier = "a larger rtol and atol"
    if cause.startswith("the cap"):
        return _slow(integration)
    return "", (easier, "weight decay or a smoother f, since the dynamics have become stiff")


def _slow(integration: Integration) -> tuple[str, Advice]:
    """Find what keeps the steps of a solve short that has reached its cap."""
    more = f"{MORE}, if the dynamics are as fast as that"
    if integration.method.implicit:  # which stability does not hold back
        return "", ("a larger rtol and atol", more)
    rate = decay_rate(integration, integration.t, integration.y)
    size = min(abs(integration.last_dt), integration.pi.dt)
    if STABLE < rate * size < JUMP:
        return (
            f"the problem is stiff: a part of it decays at rate {rate:.3g}, so that "
            f"{integration.name} is "
            f"stable in steps of about {size:.3g} only, whatever the tolerance"
        ), (IMPLICIT, more)
    accepted, rejected = integration.counts.accepted, integration.counts.rejected
    if rate * size >= JUMP or rejected > ROUGH * (accepted + rejected):
        return (
            f"{rejected} of {accepted + rejected} steps were rejected: f jumps, or varies within "
            "the shortest steps"
        ), ("a smooth f, such as torch.tanh(100 * x) for torch.sign(x)", more)
    return "", ("a larger rtol and atol", more)


def instability(
    integration: Integration, t: float, y: Tensor, cause: str
) -> tuple[str, Advice | None]:
    """Complete the cause of a fixed-step solve from (t, y) that has overflowed: ``cause`` and None,
    unless its step is beyond what is stable there.
    """
    rate = 0.0 if integration.method.implicit else decay_rate(integration, t, y)
    if not STABLE < rate * abs(integration.last_dt) < inf:
        return cause, None
    return (
        f"{cause}; the problem is stiff: a part of it decays at rate {rate:.3g}, and "
        f"{integration.name} is stable in steps of about {2 / rate:.3g} only"
    ), ("a smaller step_size", IMPLICIT)


@torch.no_grad()
def decay_rate(integration: Integration, t: float, y: Tensor) -> float:
    """Estimate the fastest decay rate at (t, y) in the direction of the solve, or 0 if the fastest
    mode does not decay.

    The power method on differences of f, v <- D^-1 (f(t, y + D v) - f(t, y)) with D the scale of
    a disturbance of each number, at ``ITERATIONS`` + 1 evaluations of f; the rate is minus the
    Rayleigh quotient.
    """
    size = torch.finfo(y.dtype).eps ** 0.5 * y.abs()
    scale = torch.maximum(1e-3 * integration.norm.scale(y, y), size)
    v = integration.last_error
    if v is None or not bool(torch.isfinite(v).all() and v.any()):
        v = torch.ones_like(y)
    at_y = integration.layout.flatten(integration.f(None, t, y)).clone()
    decays = [0.0, 0.0]
    for _ in range(ITERATIONS):
        length = v.square().mean().sqrt().item()
        if not (isfinite(length) and length > 0):
            return 0.0
        v = v / length
        change = (integration.layout.flatten(integration.f(None, t, y + scale * v)) - at_y) / scale
        growth = change.square().mean().sqrt().item()
        rate = -integration.direction * (v * change).mean().item()
        # Of an oscillation, whose vectors turn, every second quotient has the other sign.
        decays = [decays[1], rate if rate > 0.5 * growth else 0.0]
        v = change
    return decays[1] if all(decays) else 0.0
