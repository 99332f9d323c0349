"""The continuous adjoint: its error, its norms, its tolerances."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.ode.gradient_cases import KINDS, gradients, largest_difference, make_case
from support.ode.problems import ADAPTIVE, FIXED, make_solver, slope
from torch import nn

from node_runner.ode import Adjoint, Quadrature, Solver, methods

FALLS = [(name, "state", "quadratures") for name in ADAPTIVE]
FALLS += [("tsit5", "state", kind) for kind in KINDS[:3]] + [("bosh3", "full", "quadratures")]


@pytest.mark.parametrize("name, norm, kind", FALLS)
def test_difference_from_direct_falls_with_the_tolerance(name, norm, kind):
    """Some tolerances each time, for gradients of size 1 to 10; a difference below 1e-9 need not
    fall. fehlberg2 errs a hundredfold more forwards already.
    """
    case = make_case(kind)
    tols = (1e-3, 1e-4) if methods.get(name).order < 3 else (1e-4, 1e-7)
    differences = []
    for tol in tols:
        direct, _ = gradients(make_solver(name, tol), case)
        adjoint, _ = gradients(make_solver(name, tol, gradient=Adjoint(norm=norm)), case)
        differences.append(largest_difference(direct, adjoint))
    factor = 1000 if name == "fehlberg2" else 30
    assert all(d < factor * tol for d, tol in zip(differences, tols, strict=True))
    assert differences[-1] < max(differences[0] / 4, 1e-9)


STEPS = [(name, "quadratures") for name in FIXED] + [("heun2", kind) for kind in KINDS[:3]]


@pytest.mark.parametrize("name, kind", STEPS)
def test_difference_from_direct_falls_with_the_step(name, kind):
    """As step^order at least: both are right to that order, and may err alike."""
    case, sizes = make_case(kind), (0.1, 0.05)
    differences = []
    for h in sizes:
        direct, _ = gradients(make_solver(name, step_size=h), case)
        adjoint, _ = gradients(make_solver(name, step_size=h, gradient=Adjoint()), case)
        differences.append(largest_difference(direct, adjoint))
    assert slope(sizes, differences) > methods.get(name).order - 0.3


class Magnified(nn.Module):
    """y' = -y + tanh(1000 v y): the gradient of v is a thousand times that of 1000 v."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.v = nn.Parameter(torch.tensor([0.7, 0.3], dtype=torch.float64) / factor)

    def forward(self, t, y):
        return torch.tanh(self.factor * self.v * y) - y


def backward_counts(gradient, factor, y0):
    solution = Solver(rtol=1e-5, atol=1e-5, gradient=gradient)(Magnified(factor), y0, [0.0, 3.0])
    solution.final.sum().backward()
    return solution.stats.backward


def test_parameters_choose_no_step_in_the_state_norm(draw):
    """However large their gradient, the steps are the same; in the full norm they shrink."""
    y0 = draw(2)
    assert backward_counts(Adjoint(), 1e3, y0) == backward_counts(Adjoint(), 1.0, y0)
    full = Adjoint(norm="full")
    assert backward_counts(full, 1e3, y0).nfe > backward_counts(full, 1.0, y0).nfe


def test_tolerances_of_the_backward_solve_are_its_own():
    """Tightened alone they bring the adjoint to the exact gradient of the same forward solve."""
    case = replace(make_case("tensor"), ts=(0.0, 5.0))
    exact, _ = gradients(Solver("dopri8", rtol=1e-12, atol=1e-12), case)
    forward = {"rtol": 1e-10, "atol": 1e-10}
    differences, nfes = [], []
    for tol in (1e-3, 1e-6, 1e-9):
        found, stats = gradients(Solver(gradient=Adjoint(rtol=tol, atol=tol), **forward), case)
        differences.append(largest_difference(exact, found))
        nfes.append((stats.forward.nfe, stats.backward.nfe))
    assert differences[0] > 10 * differences[1] > 100 * differences[2]
    assert nfes[0][0] == nfes[1][0] == nfes[2][0]
    assert nfes[0][1] < nfes[1][1] < nfes[2][1]


def test_tolerances_by_entry_serve_both_solves():
    """One for each entry and then each quadrature; the backward solve takes the entries' own."""
    case = make_case("tuple")
    each, _ = gradients(Solver(rtol=[1e-8, 1e-8], atol=[1e-8, 1e-8], gradient=Adjoint()), case)
    one, _ = gradients(Solver(rtol=1e-8, atol=1e-8, gradient=Adjoint()), case)
    assert largest_difference(each, one) < 1e-12


def test_tolerances_by_entry_may_include_quadratures():
    case = make_case("quadratures")
    each, _ = gradients(Solver(rtol=[1e-8] * 3, atol=[1e-8] * 3, gradient=Adjoint()), case)
    one, _ = gradients(Solver(rtol=1e-8, atol=1e-8, gradient=Adjoint()), case)
    assert largest_difference(each, one) < 1e-12


def test_entry_of_weight_zero_chooses_no_step_backwards_either(draw):
    """Its adjoint, too, oscillates fast and has weight 0."""
    y0 = (draw(2), draw(2))

    def f(t, state):
        return torch.tanh(-state[0]), state[1] * 40 * torch.cos(40 * t)

    def counts(weights):
        start = tuple(y.clone().requires_grad_() for y in y0)
        solution = Solver(gradient=Adjoint())(f, start, [0.0, 1.0], weights=weights)
        sum(y.sum() for y in solution.final).backward()
        return solution.stats.backward

    assert counts([1.0, 0.0]).nfe < counts([1.0, 1.0]).nfe / 2


def test_quadratures_are_not_solved_backwards(draw):
    """A quadrature that costs many steps forwards costs none backwards: its adjoint is constant."""
    y0 = draw(2)

    def backward(amplitude):
        def f(t, y):
            return torch.tanh(-y), (amplitude * torch.cos(40 * t) + y.sum(),)

        start, zero = y0.clone().requires_grad_(), torch.zeros((), dtype=torch.float64)
        solution = Solver(gradient=Adjoint())(f, start, [0.0, 1.0], quadratures=[Quadrature(zero)])
        solution.final_quadratures[0].backward()
        return solution.stats

    calm, wild = backward(0.0), backward(1.0)
    assert wild.forward.nfe > 2 * calm.forward.nfe
    assert wild.backward == calm.backward


@pytest.mark.parametrize("norm", ["state", "full"])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_backward_solve_reads_the_device_once_a_step(name, norm, reads, draw):
    """Two more reads choose the first step, one compares y at the end; the jumps at outputs cost
    none.
    """
    y0 = draw(2).requires_grad_()
    solver = make_solver(name, 1e-4, gradient=Adjoint(norm=norm))
    solution = solver(Magnified(1.0), y0, [0.0, 0.3, 0.5, 2.0])
    reads.clear()
    solution.ys.sum().backward()
    counts = solution.stats.backward
    assert 0 < len(reads) <= counts.accepted + counts.rejected + 3


def test_gradients_carry_no_graph(draw):
    found, _ = gradients(Solver(gradient=Adjoint()), make_case("tuple"))
    assert not any(g.requires_grad for g in found.values())


def test_backward_pass_may_run_twice(draw):
    """Nothing is left over in the context of the first."""
    y0 = draw(2).requires_grad_()
    field = Magnified(1.0)
    loss = Solver(gradient=Adjoint(norm="full"))(field, y0, [0.0, 0.4, 1.0]).ys.sum()
    first, second = (
        torch.autograd.grad(loss, (y0, field.v), retain_graph=True) for _ in ("first", "second")
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm is 'seminorm', must be 'state' or 'full'"):
        Adjoint(norm="seminorm")


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("value", [0.0, -1e-3, float("nan")])
def test_tolerances_that_are_not_positive_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is .* must be positive"):
        Adjoint(**{name: value})


@pytest.mark.parametrize("options", [{"norm": "full"}, {"rtol": 1e-3}, {"atol": 1e-3}])
@pytest.mark.parametrize("name", FIXED)
def test_step_control_is_refused_with_fixed_steps(name, options):
    with pytest.raises(ValueError, match="Adjoint.* fixed-step method has no step control"):
        Solver(name, step_size=0.1, gradient=Adjoint(**options))


@pytest.mark.parametrize("back", ["adams", "kvaerno5", "bdf", "tsit5"])
def test_another_method_may_take_the_way_back(back):
    """With tolerances of its own, whatever kind either is."""
    case = make_case("tensor")
    exact, _ = gradients(Solver("dopri8", 1e-10, 1e-10), case)
    other = Solver(back, 1e-7, 1e-7)
    for name in ("dopri5", "adams"):
        solver = Solver(name, 1e-8, 1e-8, gradient=Adjoint(solver=other))
        found, stats = gradients(solver, case)
        assert largest_difference(found, exact) < 1e-4
        assert stats.backward.nfe > 0
