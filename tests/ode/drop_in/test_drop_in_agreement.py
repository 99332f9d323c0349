"""The same call, of torchdiffeq and of ours, has the same answer."""

from __future__ import annotations

import pytest
import torch
from support.ode.drop_in_cases import (
    EXPLICIT,
    FORWARDS,
    THEIRS,
    TIMES,
    Z0,
    Field,
    Pair,
    differences,
    gradients,
    spiral,
    spiral_exact,
    start,
)

from node_runner.ode import torchdiffeq as drop_in

torchdiffeq = pytest.importorskip("torchdiffeq", reason="torchdiffeq is not installed")

LOW = {"fehlberg2": 1e-4, "adaptive_heun": 1e-4, "bosh3": 1e-6}  # what a low order can pay for
GRID = {"options": {"step_size": 0.1}}


def keywords(method):
    scipy = method == "scipy_solver"
    return {"rtol": 1e-9, "atol": 1e-9, "method": method, **({} if scipy else GRID)}


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", THEIRS[:5])
def test_adaptive_methods_agree(method, direction):
    """Both are near the solution, and we no further from it than they are or the tolerance asks."""
    field, y0, t, tol = Field(), start(), TIMES[direction], LOW.get(method, 1e-8)
    with torch.no_grad():
        exact = torchdiffeq.odeint(field, y0, t, method="dopri8", rtol=1e-12, atol=1e-12)
        ours, theirs = (
            (library.odeint(field, y0, t, method=method, rtol=tol, atol=tol) - exact).abs().max()
            for library in (drop_in, torchdiffeq)
        )
    assert theirs < 3000 * tol
    assert ours < max(theirs, 30 * tol)


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", THEIRS[5:])
def test_fixed_steps_agree(method, direction):
    """To rounding; SciPy's to its tolerance, and Adams methods, which start otherwise, nearly."""
    field, y0, t = Field(), start(), TIMES[direction]
    with torch.no_grad():
        ours = drop_in.odeint(field, y0, t, **keywords(method))
        theirs = torchdiffeq.odeint(field, y0, t, **keywords(method))
    assert (ours - theirs).abs().max() < (1e-12 if method in EXPLICIT else 5e-5)
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", EXPLICIT)
def test_fixed_steps_have_the_same_gradients(method, direction):
    """Without step_size, so that no output is interpolated, in t as well. By the adjoint the one in
    t[0] apart, which they solve for and we know.
    """
    field, y0, t = Field(), start(), TIMES[direction]
    ours, theirs = (
        gradients(library.odeint, field, y0, t, method=method) for library in (drop_in, torchdiffeq)
    )
    ours[1][1][:], theirs[1][1][:] = 0, 0  # ours are of the exact flow
    assert max(differences(ours, theirs)) < 1e-11
    adjoints = [
        gradients(library.odeint_adjoint, field, y0, t, method=method, **GRID)
        for library in (drop_in, torchdiffeq)
    ]
    for _, gradient in adjoints:
        gradient[1][0] = 0
    assert max(differences(*adjoints)) < 1e-11


@pytest.mark.parametrize(
    "name, direction, state",
    [
        ("odeint", "forwards", "tensor"),
        ("odeint", "backwards", "tuple"),
        ("odeint_adjoint", "forwards", "tuple"),
        ("odeint_adjoint", "backwards", "tensor"),
    ],
)
def test_adaptive_gradients_agree(name, direction, state):
    """In y0, t and the parameters, at a tolerance far below what is asked of them."""
    field = Field() if state == "tensor" else Pair()
    y0 = start() if state == "tensor" else (start(4).view(2, 2), start(3))
    precise = {"rtol": 1e-9, "atol": 1e-9}
    ours = gradients(getattr(drop_in, name), field, y0, TIMES[direction], **precise)
    theirs = gradients(torchdiffeq.odeint_adjoint, field, y0, TIMES[direction], **precise)
    assert max(differences(ours, theirs)) < 1e-5


@pytest.mark.parametrize("rtol", [1e-6, torch.tensor(1e-6), torch.tensor([1e-6, 1e-8, 1e-7])])
@pytest.mark.parametrize("atol", [1e-7, torch.tensor([1e-7, 1e-9, 1e-8])])
def test_tensor_tolerances_of_a_tensor(rtol, atol):
    field, y0 = Field(), start()
    with torch.no_grad():
        ours = drop_in.odeint(field, y0, FORWARDS, rtol=rtol, atol=atol)
        theirs = torchdiffeq.odeint(field, y0, FORWARDS, rtol=rtol, atol=atol)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    "tolerance",
    [(1e-6, 1e-8), [1e-6, torch.tensor([1e-6, 1e-8, 1e-7])], torch.tensor([1e-6, 1e-8])],
)
def test_tolerances_of_a_tuple(tolerance):
    field, y0 = Pair(), (start(4).view(2, 2), start(3))
    with torch.no_grad():
        ours = drop_in.odeint(field, y0, FORWARDS, rtol=tolerance, atol=tolerance)
        theirs = torchdiffeq.odeint(field, y0, FORWARDS, rtol=tolerance, atol=tolerance)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=5e-5)


@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "rk4", "implicit_adams"])
def test_complex_states(method):
    """Values against the closed form, the gradient against theirs."""
    options = {"step_size": 0.02} if method in ("rk4", "implicit_adams") else None
    tols = {"rtol": 1e-8, "atol": 1e-8, "method": method, "options": options}
    ours = gradients(drop_in.odeint, spiral, Z0, FORWARDS, params=[], **tols)
    torch.testing.assert_close(ours[0][0], spiral_exact(FORWARDS, Z0), rtol=0, atol=2e-6)
    theirs = gradients(torchdiffeq.odeint, spiral, Z0, FORWARDS, params=[], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours[1][0], theirs[1][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("interp", ["linear", "cubic"])
def test_interpolation_of_a_grid_agrees(interp):
    options = {"step_size": 0.02, "interp": interp}
    y0, field = start(), Field()
    with torch.no_grad():
        ours, theirs = (
            library.odeint(field, y0, FORWARDS, method="rk4", options=options)
            for library in (drop_in, torchdiffeq)
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4 if interp == "linear" else 1e-7)


@pytest.mark.parametrize("direction", TIMES)
def test_grid_constructors_and_perturbation_agree(direction):
    """Where the grid is the caller's and has all outputs, and the field jumps at a point of it."""

    def jumping(t, y):
        return torch.where(t < 1.0, -y, 2 * y)

    def constructor(func, y0, t):
        assert func(t[0], y0).shape == y0.shape
        return torch.cat([t[:1].lerp(t[-1:], i / 8) for i in range(9)])

    t = torch.tensor([0.0, 0.25, 1.0, 2.0], dtype=torch.float64)
    t = t if direction == "forwards" else t.flip(0)
    options = {"perturb": True, "grid_constructor": constructor}
    ours, theirs = (
        library.odeint(jumping, start(), t, method="rk4", options=options)
        for library in (drop_in, torchdiffeq)
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method, options", [("dopri5", None), ("rk4", {"step_size": 0.01})])
@pytest.mark.parametrize("reverse", [False, True])
def test_events_agree(method, options, reverse):
    """The time when a rotation crosses an axis, and its gradient in y0 and t0."""

    def rotate(t, y):
        return torch.stack([y[1], -y[0]])

    found = []
    for library in (drop_in, torchdiffeq):
        y0 = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
        t0 = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        event_t, ys = library.odeint_event(
            rotate,
            y0,
            t0,
            event_fn=lambda t, y: y,
            reverse_time=reverse,
            method=method,
            options=options,
            rtol=1e-9,
            atol=1e-9,
        )
        loss = event_t + ys[1].sum()
        found.append([event_t, *ys, *torch.autograd.grad(loss, (y0, t0))])
    tolerance = 1e-6 if method == "dopri5" else 1e-2  # theirs is linear inside a step
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_dense_output_agrees():
    field, y0 = Field(), start()
    ends = torch.tensor(0.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = (
            library.odeint_dense(field, y0, *ends, method="dopri5")
            for library in (drop_in, torchdiffeq)
        )
        for t in torch.linspace(0.1, 1.9, 7, dtype=torch.float64):
            torch.testing.assert_close(ours(t), theirs(t), rtol=0, atol=1e-6)
