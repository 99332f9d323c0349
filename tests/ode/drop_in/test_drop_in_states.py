"""Any shape, dtype, tuple and direction goes in, and the like of it comes out."""

from __future__ import annotations

import pytest
import torch
from support.ode.drop_in_cases import (
    ADAPTIVE,
    DTYPE,
    FIXED,
    FORWARDS,
    SCIPY,
    THEIR_IMPLICIT,
    TIMES,
    Z0,
    decay,
    spiral,
    spiral_exact,
    start,
)

from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_dense

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
st = hypothesis.strategies

ACCURACY = {torch.float16: 4e-3, torch.bfloat16: 3e-2, torch.float32: 2e-4, torch.float64: 2e-4}
REALS = list(ACCURACY)
COMPLEX = [torch.complex64, torch.complex128]
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)
entries = st.tuples(shapes, st.sampled_from([*REALS, *COMPLEX]))
times = st.lists(st.integers(-8, 8), min_size=1, max_size=4, unique=True).map(sorted)
METHODS = [("dopri5", None), ("dopri8", None), ("bosh3", None), ("rk4", {"step_size": 0.05})]
METHODS += [("implicit_adams", {"step_size": 0.05}), ("radauIIA5", {"step_size": 0.2})]


def settings(examples):
    return hypothesis.settings(max_examples=examples, deadline=None, derandomize=True)


def made(shape, dtype):
    values = torch.linspace(0.5, 1.5, max(1, torch.Size(shape).numel()), dtype=torch.float64)
    return (values * (1 + 0.5j if dtype.is_complex else 1)).to(dtype).reshape(shape)


@settings(40)
@hypothesis.given(
    layout=st.one_of(entries, st.lists(entries, min_size=1, max_size=3)),
    t=times,
    reverse=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    chosen=st.sampled_from(METHODS),
    adjoint=st.booleans(),
)
def test_every_layout_is_solved(layout, t, reverse, dtype, chosen, adjoint):
    """y' = -y cos t entry by entry: right values, in the shapes, structure and dtype of y0; func
    sees states like y0 and times in its real dtype.
    """
    single = isinstance(layout, tuple)
    y0 = made(*layout) if single else tuple(made(*entry) for entry in layout)
    parts = (y0,) if single else y0
    promoted = parts[0].dtype
    for part in parts[1:]:
        promoted = torch.promote_types(promoted, part.dtype)
    t = torch.tensor(t[::-1] if reverse else t, dtype=dtype) / 4

    def f(time, state):
        seen = (state,) if single else state
        assert time.dim() == 0 and time.dtype == promoted.to_real()
        assert [y.shape for y in seen] == [y.shape for y in parts]
        assert {y.dtype for y in seen} == {promoted}
        return decay(time, state) if single else tuple(decay(time, y) for y in state)

    solve, more = (odeint_adjoint, {"adjoint_params": ()}) if adjoint else (odeint, {})
    method, chosen_options = chosen
    ys = solve(f, y0, t, rtol=1e-5, atol=1e-5, method=method, options=chosen_options, **more)
    assert isinstance(ys, torch.Tensor if single else tuple)
    tol = ACCURACY[promoted.to_real()]
    for y, part in zip((ys,) if single else ys, parts, strict=True):
        assert y.dtype == promoted and y.shape == (len(t), *part.shape)
        factor = torch.exp(torch.sin(t[0].double()) - torch.sin(t.double()))
        exact = factor.view(-1, *[1] * part.dim()) * part.to(torch.complex128)
        torch.testing.assert_close(y.to(torch.complex128), exact, rtol=5 * tol, atol=tol)


@settings(20)
@hypothesis.given(
    layout=st.lists(entries, min_size=1, max_size=3),
    reverse=st.booleans(),
    chosen=st.sampled_from(METHODS[:4]),
    adjoint=st.booleans(),
)
def test_gradients_of_every_layout(layout, reverse, chosen, adjoint):
    """dL/dy0 of L = Re sum y(t1) is exp(sin t0 - sin t1) in each entry, of its own dtype."""
    y0 = tuple(made(*entry).requires_grad_() for entry in layout)
    t = torch.tensor([1.0, 0.25] if reverse else [0.25, 1.0])

    def f(time, state):
        return [decay(time, y) for y in state]

    solve, more = (odeint_adjoint, {"adjoint_params": ()}) if adjoint else (odeint, {})
    method, chosen_options = chosen
    ys = solve(f, y0, t, rtol=1e-5, atol=1e-5, method=method, options=chosen_options, **more)
    found = torch.autograd.grad(sum(y[-1].real.sum() for y in ys), y0)
    factor = torch.exp(torch.sin(t[0]) - torch.sin(t[1])).item()
    for gradient, start_, y in zip(found, y0, ys, strict=True):
        tol = max(ACCURACY[start_.dtype.to_real()], ACCURACY[y.dtype.to_real()])
        assert gradient.dtype == start_.dtype
        exact = torch.full_like(start_, factor)
        torch.testing.assert_close(gradient, exact, rtol=5 * tol, atol=tol)


@pytest.mark.parametrize("method", [*ADAPTIVE, *FIXED, SCIPY])
def test_every_method_solves_complex_states(method, t=FORWARDS):
    """Forwards; what a state is does not depend on the direction of time."""
    if method == SCIPY:
        pytest.importorskip("scipy", reason="SciPy is not installed")
    chosen = {"step_size": 0.1 if method in THEIR_IMPLICIT else 0.02} if method in FIXED else None
    if method == "explicit_adams":
        chosen["max_order"] = 4  # order 12 is unstable at this step
    low = {"euler": 0.05, "implicit_euler": 0.25, "fehlberg2": 2e-3}.get(method, 1e-3)
    low = 2e-2 if method in THEIR_IMPLICIT and method != "implicit_euler" else low
    y0 = spiral_exact(t[:1], Z0)[0]
    ys = odeint(spiral, y0, t, rtol=1e-5, atol=1e-5, method=method, options=chosen)
    torch.testing.assert_close(ys, spiral_exact(t, Z0), rtol=low, atol=low)


def test_one_time_returns_y0():
    y0 = start()
    assert torch.equal(odeint(decay, y0, torch.tensor([3.0])), y0[None])


def test_rates_of_another_shape_are_taken_in_tuples():
    """torchdiffeq flattens what a field on tuples returns."""
    y0 = (torch.ones(2, 1, dtype=DTYPE), torch.ones(3, dtype=DTYPE))
    a, b = odeint(lambda t, s: (-s[0].view(2), -s[1].view(1, 3)), y0, FORWARDS)
    torch.testing.assert_close(a[:, :, 0], torch.exp(-FORWARDS)[:, None].expand(4, 2))
    torch.testing.assert_close(b, torch.exp(-FORWARDS)[:, None].expand(4, 3))


@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("direction", TIMES)
def test_dense_output_is_the_solution_at_any_time(method, direction):
    """Of tuples with complex entries too, singly and in numbers."""
    t, tol = TIMES[direction], 1e-4 if method in ("fehlberg2", "adaptive_heun") else 1e-6
    y0 = (spiral_exact(t[:1], Z0)[0], made((2, 2), DTYPE))

    def f(time, state):
        return spiral(time, state[0]), decay(time, state[1])

    solution = odeint_dense(f, y0, t[0], t[-1], method=method, rtol=tol, atol=tol)
    seen = torch.linspace(0, 2, 13, dtype=DTYPE)
    a, b = solution(seen)
    torch.testing.assert_close(a, spiral_exact(seen, Z0), rtol=0, atol=500 * tol)
    factor = torch.exp(torch.sin(t[0]) - torch.sin(seen))
    exact = factor[:, None, None] * y0[1].to(a.dtype)
    torch.testing.assert_close(b, exact, rtol=0, atol=500 * tol)
    for i in (0, 5, 12):
        one = solution(seen[i])
        torch.testing.assert_close(one[0], a[i], rtol=1e-14, atol=1e-14)
        assert torch.equal(one[1], solution(seen[i].item())[1])


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
def test_dense_output_is_differentiable(method):
    """In y0 and in the time: y(t) = y0 exp(-sin t)."""
    y0, t = start().requires_grad_(), torch.tensor([0.7, 1.9], dtype=DTYPE, requires_grad=True)
    ys = odeint_dense(decay, y0, 0.0, 2.0, method=method)(t)
    of_y0, of_t = torch.autograd.grad(ys.sum(), (y0, t))
    factor = torch.exp(-torch.sin(t.detach()))
    torch.testing.assert_close(of_y0, factor.sum().expand(3), rtol=1e-5, atol=0)
    slope = -torch.cos(t.detach()) * factor * y0.detach().sum()
    torch.testing.assert_close(of_t, slope, rtol=1e-5, atol=1e-7)
