"""Solvers of others on our problems, as their documentation has them used."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.harness import need

# Of XLA, before jax is imported: one thread, as torch has here.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
Solve = Callable[[], tuple[Tensor, int]]  # y at the end, and evaluations of f


def torchode(
    f: Callable[[Tensor, Tensor], Tensor], y0: Tensor, end: float, tol: float, compiled: bool
) -> Solve:
    """torchode's Dopri5, which steps each sample by itself: f(t, y) with t of shape (B,).

    Compiled is its method ``solve``: torch.compile of the solver object, as its README has it,
    compiles nothing.
    """
    peer = need("torchode")
    term = peer.ODETerm(f)
    control = peer.IntegralController(atol=tol, rtol=tol, term=term)
    solve = peer.AutoDiffAdjoint(peer.Dopri5(term=term), control).solve
    solve = torch.compile(solve) if compiled else solve
    times = torch.tensor([[0.0, end]]).repeat(len(y0), 1)
    problem = peer.InitialValueProblem(y0=y0, t_eval=times)

    def run() -> tuple[Tensor, int]:
        solution = solve(problem)
        return solution.ys[:, -1], int(solution.stats["n_f_evals"].max())

    return run


def diffrax(f: Callable, y0: Any, end: float, tol: float) -> Callable[[], tuple[Any, int]]:
    """diffrax's Dopri5 with its default control, whole in one jax.jit: y0 and y(end) are jax arrays
    or tuples of such, f(t, y, args). Of its NFE the steps alone are reported: six a step, and two.
    """
    peer, jax = need("diffrax"), need("jax")
    term, method = peer.ODETerm(f), peer.Dopri5()
    control, ends = peer.PIDController(rtol=tol, atol=tol), peer.SaveAt(t1=True)

    @jax.jit
    def solve(y: Any) -> tuple[Any, Any]:
        options = {"saveat": ends, "stepsize_controller": control}
        found = peer.diffeqsolve(term, method, 0.0, end, None, y, **options)
        return jax.tree.map(lambda a: a[-1], found.ys), found.stats["num_steps"]

    def run() -> tuple[Any, int]:
        y, steps = jax.block_until_ready(solve(y0))
        return y, 6 * int(steps) + 2

    return run


Implicit = Callable[[], tuple[Tensor | None, int, int]]  # y at the end, accepted and rejected steps


def kvaerno5(
    equations: Callable, y0: Tensor, constants: Tensor, end: float
) -> Callable[..., Implicit]:
    """diffrax's Kvaerno5 in float64 on the batch as one vector, whole in one jax.jit.

    Args:
        equations: (columns of y, constants) -> columns of the rate.
        y0: shape (B, D).
        constants: shape (B,).

    Returns:
        A function of rtol, atol, whether the stages are solved by Newton's iteration rather than by
        the default one, and the coefficients of the step control. It returns the solve, whose y is
        None where it fails.
    """
    peer, jax, jnp = need("diffrax"), need("jax"), need("jax.numpy")
    jax.config.update("jax_enable_x64", True)
    start, values = jnp.asarray(y0.numpy()), jnp.asarray(constants.numpy())
    term = peer.ODETerm(lambda t, y, _: jnp.stack(equations(*y.T, values), axis=1))
    iteration = peer.with_stepsize_controller_tols(need("optimistix").Newton)()

    def setting(rtol: float, atol: float, newton: bool, **coefficients: float) -> Implicit:
        control = peer.PIDController(rtol=rtol, atol=atol, **coefficients)
        method = peer.Kvaerno5(root_finder=iteration) if newton else peer.Kvaerno5()
        options = {"stepsize_controller": control, "max_steps": 10_000, "throw": False}
        solve = jax.jit(lambda y: peer.diffeqsolve(term, method, 0, end, None, y, **options))

        def run() -> tuple[Tensor | None, int, int]:
            found = jax.block_until_ready(solve(start))
            counts = (int(found.stats[f"num_{k}_steps"]) for k in ("accepted", "rejected"))
            solved = found.result == peer.RESULTS.successful
            return torch.tensor(found.ys[-1].tolist(), dtype=y0.dtype) if solved else None, *counts

        return run

    return setting
