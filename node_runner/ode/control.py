"""Step-size control in plain Python floats: fixed steps and the PI controller."""

from __future__ import annotations

from dataclasses import dataclass
from math import copysign, inf, isfinite, nextafter, ulp
from typing import Any

MIN_FRACTION = 2.0**-128  # a step, over what is left of the interval


def underflows(dt: float, t: float, t1: float, end: float) -> bool:
    """Whether a step of ``dt`` is lost in the rounding of time where it stands.

    That is the rounding of t and of t1, the end of the step before, which was tried in vain; the
    interval may go on far beyond. Near t = 0 any step is above it, and one that is
    ``MIN_FRACTION`` of what is left of the interval is given up.
    """
    left = abs(end - t)
    return dt <= max(16 * ulp(max(abs(t), abs(t1))), MIN_FRACTION * left if isfinite(left) else 0.0)


MAX_FIXED_STEPS = 10_000_000  # of a grid that the caller chooses


@dataclass
class FixedControl:
    """Steps of ``step_size`` from the start of each stretch, the last one clipped to its end; all
    accepted.
    """

    step_size: float
    start: float = 0.0
    taken: int = 0

    def begin(self, t: float) -> None:
        self.start, self.taken = t, 0

    def propose(self, t: float, end: float) -> float:
        """End of the next step. Counting from the start keeps rounding from piling up into one step
        too many.
        """
        self.taken += 1
        t1 = self.start + copysign(self.step_size, end - t) * self.taken
        left = (end - t1) * copysign(1.0, end - t)
        return end if left <= 1e-9 * self.step_size else t1


@dataclass
class PIControl:
    """Proportional-integral control of the step size.

        dt_next = dt * clip(safety * e^-alpha * e_last^beta, min_factor, max_factor)

    with e the error ratio of this step, e_last of the accepted one before it, k = order of the
    embedded solution + 1, beta = 0.2 / k and alpha = 1 / k - 0.75 beta: Hairer, Norsett, Wanner,
    IV.2, eq. (2.43c) in the mild form their dopri5 code uses (beta = 0.04 for k = 5). The pure
    integral rule (beta = 0: torchdiffeq, torchode and diffrax by default) rejects more steps where
    the error oscillates. A step is accepted when e <= 1; NaN rejects.

    Unlike theirs, e_last is scaled by (dt / dt_last)^(0.6 k), up to 1, a little over half way to
    what it would be at the size of this step: while steps grow from a cautious first one, errors
    grow with them, and that is not all reason for caution. The whole way (k) overshoots: trained
    toy flows then need a tenth more evaluations, in steps that are rejected. After the first step,
    which has no e_last, the memory is 0.8 for the same reason.

    Args:
        dt: size of the step to propose, without sign; NaN until the first is estimated.
        order: k.
        safety, min_factor, max_factor: as in the formula.
        min_step: no step is shorter but the last of a stretch; one of this size or less is accepted
            whatever its error, if it is finite.
        max_step: no step is longer.
    """

    dt: float
    order: int
    safety: float = 0.93
    min_factor: float = 0.2
    max_factor: float = 10.0
    min_step: float = 0.0
    max_step: float = inf
    last: tuple[float, float] | None = None  # size and error ratio of the last accepted step
    after_rejection: bool = False
    interrupted: float = 0.0  # the proposal that the last step was clipped from

    def begin(self, t: float) -> None:
        """A new stretch goes on with the step of the one before."""

    def propose(self, t: float, end: float) -> float:
        """End of the next step: clipped to ``end``, and halving what is left rather than leaving a
        sliver. A step below the rounding of t becomes the least there is, which may still do.
        """
        left, dt = abs(end - t), min(max(self.dt, self.min_step), self.max_step)
        if left <= min(1.01 * dt, self.max_step):
            return end
        size = left / 2 if 2 * self.min_step <= left < 2 * dt else dt
        t1 = t + copysign(size, end - t)
        return nextafter(t, end) if t1 == t else t1

    def shortest(self, size: float) -> bool:
        """Whether a step, the difference of two rounded times, is one of ``min_step`` or less."""
        return size <= 1.000001 * self.min_step

    def judge(self, size: float, ratio: float) -> bool:
        """Whether a step of ``size`` with error ratio ``ratio`` is accepted; sets the size to
        propose next.
        """
        if not isfinite(ratio):
            self.dt, self.after_rejection = size * self.min_factor, True
            return False
        floored = max(ratio, 1e-10)
        if ratio > 1 and not self.shortest(size):
            self.dt = size * max(self.min_factor, self.safety * floored ** (-1 / self.order))
            self.after_rejection = True
            return False
        factor = self.safety * floored ** (-1 / self.order) * self.memory(size, floored)
        most = 1.0 if self.after_rejection else self.max_factor
        proposal = size * min(most, max(self.min_factor, factor))
        # A clipped step says little about the next: keep the larger proposal that it interrupted.
        self.interrupted = self.dt if size < 0.99 * self.dt else 0.0
        self.dt = max(proposal, self.interrupted)
        self.last, self.after_rejection = (size, max(ratio, 1e-4)), False
        return True

    def follow(self, size: float, growth: float) -> None:
        """Let the method, which knows its next order, choose the next step over the last."""
        self.dt = max(size * growth, self.interrupted)

    def memory(self, size: float, ratio: float) -> float:
        """e^(0.75 beta) e_last^beta, the proportional part."""
        if self.last is None:
            return 0.8
        last_size, last_ratio = self.last
        beta = 0.2 / self.order
        scaled = min(1.0, max(1e-4, last_ratio * (size / last_size) ** (0.6 * self.order)))
        return ratio ** (0.75 * beta) * scaled**beta


def check_control_options(
    min_step: object, max_step: object, safety: object, min_factor: object, max_factor: object
) -> dict[str, Any]:
    """Check the options of ``PIControl``.

    Raises:
        ValueError: for one out of range.
    """
    found = {name: as_number(name, value) for name, value in locals().items()}
    if not 0 <= found["min_step"] <= found["max_step"] or found["min_step"] == inf:
        raise ValueError(
            f"min_step is {min_step!r} and max_step {max_step!r}, must be 0 <= "
            "min_step <= max_step with min_step finite"
        )
    if not found["max_step"] > 0:
        raise ValueError(f"max_step is {max_step!r}, must be positive")
    if not 0 < found["safety"] <= 1:
        raise ValueError(f"safety is {safety!r}, must be above 0 and at most 1")
    if not 0 < found["min_factor"] < 1:
        raise ValueError(f"min_factor is {min_factor!r}, must be above 0 and below 1")
    if not found["max_factor"] >= 1:
        raise ValueError(f"max_factor is {max_factor!r}, must be at least 1")
    return found


def as_number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {value!r}, must be a number") from None
