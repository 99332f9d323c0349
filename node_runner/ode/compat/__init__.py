"""Drop-in functions for code written against torchdiffeq: its signatures, its names, its options.

    from node_runner.ode.compat import odeint, odeint_adjoint, odeint_event, odeint_dense

**Methods** are called as there: adaptive dopri8 dopri5 (the default) tsit5 bosh3 fehlberg2
adaptive_heun; fixed-step euler midpoint heun2 heun3 rk4 (the 3/8 rule: ``rk38`` elsewhere in this
package), explicit_adams implicit_adams fixed_adams; implicit fixed-step implicit_euler
implicit_midpoint trapezoid radauIIA3 radauIIA5 gl4 gl6 sdirk2 trbdf2; scipy_solver.

**Options**, in the dict ``options``; unknown ones are warned of and ignored:

- adaptive: ``norm`` (of the scaled error, a tensor or tuple like y0; positively homogeneous),
  ``first_step``, ``min_step`` (a step no longer is accepted whatever its error), ``max_step``,
  ``step_t`` (a step ends there), ``jump_t`` (and func is evaluated just before it and anew just
  past it, never at it), ``safety``, ``ifactor``, ``dfactor``, ``max_num_steps``, ``dtype`` (of the
  times that callbacks see);
- fixed-step: ``step_size`` or ``grid_constructor``, ``interp`` ("linear" or "cubic"), ``perturb``;
  Adams ``max_order`` and ``max_iters``, implicit ones ``max_iters``;
- scipy_solver: ``solver``, ``min_step``, ``max_step``.

Attributes callback_step, callback_accept_step and callback_reject_step of func, and the same with
_adjoint appended, are called as there.

**What differs, and why.** Values agree within the tolerances asked for, gradients too; the steps
between are not torchdiffeq's.

- Step control is proportional-integral (``control.PIControl``), which rejects fewer steps; an
  accepted step may be followed by a shorter one; ``safety`` is 0.93 unless given.
- func is never called outside the interval. There, the last step runs past the end and the result
  is interpolated back. dopri8 has an interpolant of order 7; there, a quartic limits its outputs to
  a far lower accuracy.
- tsit5 propagates the row of order 5; there, the embedded row of order 4, with 20 to 90 times the
  error. gl4 has two different nodes; there, one twice, which leaves order 1.
- adaptive_heun and fehlberg2 evaluate func at the start of each step: their last stage is not the
  first of the next, as they are used there.
- The choice of the first step has no gradient; there, it leaks into that of y0 and the parameters.
- ``max_num_steps`` bounds the attempts of a whole solve, as many for each interval between outputs;
  there it bounds each interval by itself. Unless it is given a solve, or a search for an event,
  gives up after 100 000 and one for each output, rather than run on.
- Time is kept in double precision on the host whatever ``dtype`` says; func sees y's real dtype.
- Gradients in t of adaptive methods and of every adjoint are <g_i, func(t_i, y_i)>, and for t[0]
  -<a(t_0), func(t_0, y_0)>, never through func's own dependence on t, which may be piecewise.
  Fixed steps are differentiated through as they are.
- The adjoint of an adaptive or explicit method is one solve from the last output to the first,
  there one for each interval between outputs, with two more evaluations and a new first step.
- A leaf that func uses, that requires a gradient, and that is not in the adjoint's parameters is
  refused, there its gradient is lost without a word; ``adjoint_params`` given overrules that. What
  was computed from a parameter before the solve gets its gradient.
- odeint_event has gradients for the parameters of event_fn; an event function that is zero at the
  start is no event there and then, one that rests at zero is when it leaves it. event_fn sees t in
  t's dtype. odeint_dense takes tuples and every adaptive method.
- float16 and bfloat16 states are solved in float32, func sees their own dtype.
- For tuples, grid constructors and the norms and callbacks of the adjoint see tuples, not one
  vector of them all.
- Errors in arguments are ValueErrors (there also AssertionErrors and TypeErrors). A failing solve
  raises ``SolverError``, an AssertionError as there, which tells where and why.
- Gradients of gradients are there in direct mode; the adjoint and odeint_event refuse them.
"""

from .adjoint import odeint_adjoint
from .events import odeint_event
from .solve import odeint, odeint_dense

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]
