"""The adjoint by every method and norm: its gradients, its parameters, its options."""

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
    Field,
    Pair,
    differences,
    gradients,
    spiral,
    start,
)
from torch import nn

from node_runner.ode.torchdiffeq import odeint, odeint_adjoint

LOW = {"fehlberg2": 1e-4, "adaptive_heun": 1e-4, "bosh3": 1e-6}
ORDER = {"euler": 1, "implicit_euler": 1}


def asked(method, h=0.02):
    if method not in FIXED:
        tol = LOW.get(method, 1e-8)
        return {"method": method, "rtol": tol, "atol": tol}
    return {"method": method, "options": {"step_size": h}}


def precise(field, y0, t, **more):
    return gradients(odeint, field, y0, t, method="dopri8", rtol=1e-10, atol=1e-10, **more)


EVERY = [(method, "backwards") for method in (*ADAPTIVE, *FIXED, SCIPY)]
EVERY += [(method, "forwards") for method in ("dopri5", "rk4", "trapezoid", "implicit_adams")]


@pytest.mark.parametrize("method, direction", EVERY)
def test_every_method_has_the_gradient(method, direction):
    """That of the solution, in y0, every parameter and every time."""
    if method == SCIPY:
        pytest.importorskip("scipy", reason="SciPy is not installed")
    field, y0, t = Field(1), start(1), TIMES[direction]
    exact, implicit = precise(field, y0, t), method in THEIR_IMPLICIT
    found = gradients(odeint_adjoint, field, y0, t, **asked(method, 0.1 if implicit else 0.02))
    allowed = 0.2 if method in ORDER else 1e-5
    if method in FIXED and method not in ORDER or method in LOW:
        allowed = 2e-2 if implicit else 3e-3
    assert differences(found, exact)[1] < allowed


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_adams", "radauIIA5"])
@pytest.mark.parametrize("kind", ["tuple", "complex"])
def test_tuples_and_complex_states(kind, method):
    """By the core's adjoint and by the augmented state."""
    field = Pair() if kind == "tuple" else spiral
    y0 = (start(4).view(2, 2), start(3)) if kind == "tuple" else Z0
    params = list(field.parameters()) if kind == "tuple" else []
    exact = precise(field, y0, FORWARDS, params=params)
    solve = asked(method, 0.1 if method == "radauIIA5" else 0.05)
    more = {} if kind == "tuple" else {"adjoint_params": ()}
    found = gradients(odeint_adjoint, field, y0, FORWARDS, params=params, **solve, **more)
    assert differences(found, exact)[1] < (1e-5 if method == "dopri5" else 2e-3)


@pytest.mark.parametrize("forward", ["dopri5", "rk4", "trapezoid"])
@pytest.mark.parametrize("backward", ["dopri8", "midpoint", "explicit_adams"])
def test_the_way_back_may_be_of_another_method(forward, backward):
    field, y0 = Field(1), start(1)
    there, back = asked(forward, 0.1), asked(backward)
    there |= {"adjoint_method": backward, "adjoint_options": back.get("options", {})}
    there |= {"adjoint_rtol": 1e-8, "adjoint_atol": 1e-8}
    found = gradients(odeint_adjoint, field, y0, FORWARDS, **there)
    assert differences(found, precise(field, y0, FORWARDS))[1] < 3e-3


def backward_calls(field, y0, **keywords):
    ys = odeint_adjoint(field, y0, FORWARDS, **keywords)
    field.calls = 0
    ys[-1].square().sum().backward()
    return field.calls


def test_the_norm_of_the_state_is_that_of_the_adjoint():
    """A stricter norm forwards is stricter backwards, unless adjoint_options say otherwise."""
    field, y0 = Field(), start()

    def strict(y):
        return 1e4 * y.abs().max()

    usual = backward_calls(field, y0)
    assert backward_calls(field, y0, options={"norm": strict}) > 1.5 * usual


class Magnified(nn.Module):
    """y' = tanh(1000 v y) - y: the gradient of v is a thousand times that of 1000 v."""

    def __init__(self):
        super().__init__()
        self.v, self.calls = nn.Parameter(torch.tensor([7e-4, 3e-4, 5e-4], dtype=DTYPE)), 0

    def forward(self, t, y):
        self.calls += 1
        return torch.tanh(1000 * self.v * y) - y


def test_seminorm_forgets_the_parameters():
    """However large their gradient is, it chooses no steps; the gradient is as right."""
    field, y0 = Magnified(), start()
    full = backward_calls(field, y0)
    assert backward_calls(field, y0, adjoint_options={"norm": "seminorm"}) < full
    for options in (None, {"norm": "seminorm"}):
        found = gradients(odeint_adjoint, Field(), y0, FORWARDS, adjoint_options=options)
        assert differences(found, precise(Field(), y0, FORWARDS))[1] < 1e-4


@pytest.mark.parametrize("tolerance", [1e-6, torch.tensor([1e-6, 1e-7, 1e-6], dtype=DTYPE)])
def test_tolerances_of_the_adjoint(tolerance):
    """One number, or one like y0; those of the way there serve it unless given."""
    field, y0, exact = Field(), start(), precise(Field(), start(), FORWARDS)
    keywords = {"rtol": tolerance / 1e3, "atol": tolerance / 1e3}
    given = {"adjoint_rtol": tolerance, "adjoint_atol": tolerance}
    found = gradients(odeint_adjoint, field, y0, FORWARDS, **keywords, **given)
    assert differences(found, exact)[1] < 1e-3
    assert backward_calls(field, y0, **keywords, **given) < backward_calls(field, y0, **keywords)
    found = gradients(odeint_adjoint, field, y0, FORWARDS, **keywords)
    assert differences(found, exact)[1] < 1e-5


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_adams"])
def test_unused_parameters_have_zero_gradients_and_frozen_ones_none(method):
    field = Field()
    field.net.outer.bias.requires_grad_(False)
    odeint_adjoint(field, start(), FORWARDS, **asked(method, 0.1)).sum().backward()
    assert torch.equal(field.unused.grad, torch.zeros(2, dtype=DTYPE))
    assert field.net.outer.bias.grad is None and field.net.outer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("method", ["dopri5", "implicit_adams"])
def test_adjoint_params_are_those_that_get_a_gradient(method):
    """What is left out is a constant, as there; () leaves out all."""
    field, y0 = Field(), start().requires_grad_()
    chosen = (field.net.inner.weight,)
    keywords = asked(method, 0.1)
    odeint_adjoint(field, y0, FORWARDS, adjoint_params=chosen, **keywords).sum().backward()
    assert chosen[0].grad.abs().sum() > 0 and y0.grad.abs().sum() > 0
    assert all(p.grad is None for p in field.parameters() if p is not chosen[0])
    odeint_adjoint(field, y0, FORWARDS, adjoint_params=(), **keywords).sum().backward()
    assert field.net.outer.weight.grad is None


@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_adams"])
def test_a_tensor_that_nobody_told_of_is_refused(method):
    """Its gradient would be lost, as torchdiffeq loses it."""

    class Conditioned(nn.Module):
        def forward(self, t, y):
            return -y * context

    context = start().requires_grad_()
    y0 = start().requires_grad_()
    with pytest.raises(ValueError, match="shape \\(3,\\) that requires a gradient"):
        odeint_adjoint(Conditioned(), y0, FORWARDS, **asked(method, 0.1))


def test_a_replica_has_its_tensors_for_parameters():
    """As DataParallel makes them: no parameters, but tensors of a graph in their places."""
    whole, replica = Field(), Field()
    for module in replica.modules():
        for name, parameter in list(module._parameters.items()):
            del module._parameters[name]
            setattr(module, name, parameter.detach().clone().requires_grad_())
        module._is_replica = True
    for field in (whole, replica):
        odeint_adjoint(field, start(), FORWARDS).sum().backward()
    torch.testing.assert_close(replica.net.inner.weight.grad, whole.net.inner.weight.grad)


def test_parameters_of_another_dtype():
    """Complex and single-precision parameters of a double-precision field."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.phase = nn.Parameter(torch.tensor(0.3 + 0.4j, dtype=torch.complex128))
            self.scale = nn.Parameter(torch.tensor(0.5))

        def forward(self, t, y):
            return -self.scale * y * (self.phase * torch.exp(1j * t)).real

    field, y0 = Mixed(), start()
    exact = gradients(odeint, field, y0, FORWARDS, rtol=1e-10, atol=1e-10)
    others = ("rk4", "implicit_adams", "trapezoid", "adams", "bdf")
    for keywords in (
        {},
        *(asked(method, 0.1 if method == "trapezoid" else 0.02) for method in others),
    ):
        found = gradients(odeint_adjoint, field, y0, FORWARDS, **keywords)
        assert [g.dtype for g in found[1][2:]] == [torch.complex128, torch.float32]
        assert differences(found, exact)[1] < 4e-3


def test_one_solve_back_for_all_outputs():
    """A step from output to output: a fresh start at each would cost an evaluation more."""
    t = torch.linspace(0, 2, 41, dtype=DTYPE)
    field = Field()
    ys = odeint_adjoint(field, start(), t, rtol=1e-5, atol=1e-5)
    field.calls = 0
    ys.sum().backward()
    assert field.calls <= 40 * 7 + 1


def test_gradients_of_gradients_are_refused():
    field, y0 = Field(), start().requires_grad_()
    for method in ("dopri5", "rk4", "implicit_adams"):
        ys = odeint_adjoint(field, y0, FORWARDS[:2], **asked(method, 0.1))
        (first,) = torch.autograd.grad(ys.square().sum(), y0, create_graph=True)
        with pytest.raises(NotImplementedError, match="again"):
            first.sum().backward()


def test_without_gradients_nothing_is_kept():
    with torch.no_grad():
        ys = odeint_adjoint(Field(), start(), FORWARDS)
    assert not ys.requires_grad
    torch.testing.assert_close(ys, odeint(Field(), start(), FORWARDS).detach())
