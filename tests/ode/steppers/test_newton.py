"""Newton's iteration on the equations of implicit steps: what it finds, costs and refuses."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad, gradcheck

from node_runner.ode.error_norm import ErrorNorm
from node_runner.ode.rhs import Rhs
from node_runner.ode.state import Layout, Quadrature, RightSide
from node_runner.ode.stats import Counts
from node_runner.ode.stepper import StepFailed
from node_runner.ode.steppers.newton import Equations, Newton

TIMES, SCALE = [0.1, 0.2], [[0.02, -0.005], [0.03, 0.01]]


class Hidden(torch.autograd.Function):
    """A cube whose backward pass vmap cannot batch."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return y**3

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * 3 * y**2 if gradient.sum().item() else gradient * 0


def coupled(t, y):
    return -y * y.mean()


def newton(f, state, quadratures=(), rtol=1e-6, **options):
    layout = Layout(state, quadratures)
    counts = Counts()
    right = RightSide(Rhs(f, torch.device("cpu")), layout, counts)
    norm = ErrorNorm(layout, rtol, rtol, [1.0] * len(layout.sizes))
    return Newton(right, layout, norm, **options), counts


def dt(size):
    return torch.tensor([[size]], dtype=torch.float64)


def problem(draw):
    """A batch of two entries, nonlinear, stiff in one."""
    w = draw(3, 3).requires_grad_()

    def f(t, state):
        y, s = state
        return torch.tanh(y @ w) * s[:, None] - 50 * y + t, y.sum(1) - s**3

    state = draw(4, 3), draw(4)
    y = Layout(state).flatten(state)
    return f, state, torch.stack([y, 1.1 * y]), torch.tensor(SCALE, dtype=y.dtype), w


def residual(solver, base, scale, z):
    equations = Equations(solver.f, solver.blocks, TIMES, base, scale)
    return equations.residual(z, equations.rates(z)).abs().max().item()


@pytest.mark.parametrize("jacobian", ["rows", "full"])
@pytest.mark.parametrize(("adaptive", "most"), [(True, 1e-6), (False, 1e-13)])
def test_solution_satisfies_the_equations(draw, jacobian, adaptive, most):
    f, state, base, scale, _ = problem(draw)
    solver, _ = newton(f, state, jacobian=jacobian, adaptive=adaptive)
    z = solver.solve(TIMES, base, scale, base)
    assert residual(solver, base, scale, z) < most
    assert not z.requires_grad


def test_rows_are_the_blocks_of_the_full_matrix(draw):
    f, state, base, scale, _ = problem(draw)
    each = [newton(f, state, jacobian=kind, adaptive=False)[0] for kind in ("rows", "full")]
    rows, full = (solver.solve(TIMES, base, scale, base) for solver in each)
    assert torch.allclose(rows, full, rtol=1e-12, atol=1e-13)
    assert [tuple(solver.jacobians.shape) for solver in each] == [(1, 4, 4, 4), (1, 1, 16, 16)]


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_linear_field_needs_one_jacobian_in_a_solve(draw, adaptive):
    """And one LU decomposition for each scale."""
    a = draw(3, 3)
    solver, counts = newton(lambda t, y: y @ a, draw(5, 3), adaptive=adaptive)
    for scale in (dt(0.1), dt(0.2)):
        for _ in range(3):
            base = draw(1, 15)
            solver.solve([0.0], base, scale, base)
    assert (solver.evaluated, solver.factored) == (1, 2)
    assert counts.nfe <= 2 + 12  # the check of the rows and the Jacobian; two a solution


def test_a_slow_iteration_renews_the_jacobian(draw):
    solver, _ = newton(lambda t, y: -(y**3), draw(4, 1), adaptive=True)
    scale = dt(0.1)
    for size in (0.01, 0.3, 1.0, 1.5):
        base = torch.full((1, 4), size, dtype=torch.float64)
        z = solver.solve([0.0], base, scale, base)
        assert (z + 0.1 * z**3 - base).abs().max() < 1e-6
    assert 1 < solver.evaluated <= 4


@pytest.mark.parametrize("hidden", [False, True])
def test_coupled_rows_are_refused_by_name(draw, hidden):
    """Also where f hides its graph."""
    f = (lambda t, y: coupled(t, y.detach())) if hidden else coupled
    base, scale = draw(1, 8), dt(0.1)
    solver, _ = newton(f, draw(4, 2))
    with pytest.raises(ValueError, match="changes the rate of another.*choose jacobian='full'"):
        solver.solve([0.0], base, scale, base)
    for options in ({"jacobian": "full"}, {}):
        state = draw(4, 2) if options else draw(8)  # without a batch all is one row
        solver, _ = newton(f, state, **options)
        z = solver.solve([0.0], base, scale, base)
        assert (z - base + 0.1 * z * z.mean()).abs().max() < 1e-6


@pytest.mark.parametrize("state", [(3, 2), (3,), ()])
@pytest.mark.parametrize("kind", ["unbatched backward", "no graph", "constant"])
def test_any_field_is_linearised(draw, kind, state):
    cube = {
        "unbatched backward": lambda t, y: -Hidden.apply(y),
        "no graph": lambda t, y: -(y.detach() ** 3),
        "constant": lambda t, y: torch.ones_like(y),
    }[kind]
    solver, _ = newton(cube, draw(*state), adaptive=False)
    base, scale = draw(1, max(1, solver.layout.width)), dt(0.1)
    z = solver.solve([0.0], base, scale, base)
    expected = base + 0.1 * (1 if kind == "constant" else -(z**3))
    assert torch.allclose(z, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("coupling", [0.0, 0.5])
def test_an_f_that_reuses_its_memory(draw, coupling):
    """Its Jacobian is differenced, and its rows are checked, without mixing up two of its rates."""
    buffer = torch.zeros(4, 2, dtype=torch.float64)

    def f(t, y):
        return buffer.copy_(-(y.detach() ** 3) - coupling * y.detach().mean())

    solver, _ = newton(f, buffer, adaptive=False, iterations=6)
    base = draw(1, 8)
    if coupling:
        with pytest.raises(ValueError, match="changes the rate of another"):
            solver.solve([0.0], base, dt(0.1), base)
    else:
        z = solver.solve([0.0], base, dt(0.1), base)
        assert torch.allclose(z, base - 0.1 * z**3, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize(
    ("f", "start", "cause"),
    [
        (lambda t, y: y * torch.nan, 1.0, "f returned NaN or inf .* t=0.5"),
        (lambda t, y: y.abs().sqrt(), 0.0, "Jacobian of f has NaN or inf at t=0.5"),
        (lambda t, y: y + 1, 1.0, "matrix of Newton's iteration is singular at t=0.5"),
        (lambda t, y: 1 + y**2, 1.0, "did not converge .*t=0.5"),
    ],
)
def test_a_failure_names_its_cause(adaptive, f, start, cause):
    solver, _ = newton(f, torch.ones(1), adaptive=adaptive)
    base = torch.full((1, 1), start)
    with pytest.raises(StepFailed, match=cause):
        solver.solve([0.5], base, torch.ones(1, 1), base)


@pytest.mark.parametrize("jacobian", ["rows", "full"])
def test_gradient_is_that_of_the_solution(draw, jacobian):
    f, state, base, scale, w = problem(draw)

    def solution(base, w):
        solver, _ = newton(f, state, jacobian=jacobian, adaptive=False)
        return solver.attached(TIMES, base, scale, solver.solve(TIMES, base, scale, base))

    assert gradcheck(solution, (base.requires_grad_(), w), fast_mode=True)


def test_gradient_cannot_be_differentiated_again(draw):
    f, state, base, scale, w = problem(draw)
    solver, _ = newton(f, state)
    z = solver.attached(TIMES, base, scale, solver.solve(TIMES, base, scale, base))
    (once,) = torch.autograd.grad(z.square().sum(), w, create_graph=True)
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        torch.autograd.grad(once.sum(), w)


def test_forward_mode_agrees_with_reverse_mode(draw):
    f, state, base, scale, w = problem(draw)
    solver, _ = newton(f, state, adaptive=False)
    tangent, cotangent = draw(2, 16), draw(2, 16)
    with torch.no_grad(), forward_ad.dual_level():
        dual = forward_ad.make_dual(base, tangent)
        z = solver.attached(TIMES, dual, scale, solver.solve(TIMES, dual, scale, dual))
        forward = (forward_ad.unpack_dual(z).tangent * cotangent).sum()
    base.requires_grad_()
    z = solver.attached(TIMES, base, scale, solver.solve(TIMES, base, scale, base))
    (reverse,) = torch.autograd.grad(z, base, cotangent)
    assert torch.allclose(forward, (reverse * tangent).sum(), rtol=1e-10)


def test_quadratures_take_no_part(draw):
    """Points are those of the state; so a batch of quadratures may be anything."""
    start = draw(4, 2)
    quadrature = Quadrature(torch.zeros((), dtype=torch.float64))
    with_q, _ = newton(lambda t, y: (-(y**3), [y.sum()]), start, [quadrature])
    without, _ = newton(lambda t, y: -(y**3), start)
    base, scale = start.reshape(1, -1), dt(0.1)
    found = [solver.solve([0.0], base, scale, base) for solver in (with_q, without)]
    assert torch.equal(*found)


def test_inference_mode_and_an_empty_state(draw):
    f, state, base, scale, _ = problem(draw)
    solver, _ = newton(f, state)
    with torch.inference_mode():
        z = solver.solve(TIMES, base * 1, scale * 1, base * 1)
    assert residual(solver, base, scale, z.clone()) < 1e-6
    empty = torch.zeros(0, 3)
    solver, _ = newton(lambda t, y: y, empty)
    assert solver.solve([0.0], empty.view(1, 0), scale[:1, :1], empty.view(1, 0)).shape == (1, 0)


@pytest.mark.parametrize("options", [{"jacobian": "diagonal"}, {"iterations": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        newton(lambda t, y: y, torch.ones(2), **options)
