"""Events: conditions on time and state that end a solve.

- ``solves``: ``Event``, ``EventSolution`` and the solve up to the first event.
- ``detection``: the search for a change of sign in the accepted steps.
- ``root_finding``: the ITP root finder that narrows it down.
- ``condition``: the value and the slope of a condition, for the gradient of the event's time.
"""

from .solves import Event, EventSolution, solve_until

__all__ = ["Event", "EventSolution", "solve_until"]
