"""examples/: each script satisfies a law, such as a bound on its error."""

import runpy
from pathlib import Path

import pytest
import torch
from scipy.integrate import solve_ivp

FOLDER = Path(__file__).parents[1] / "examples"


def result(name, **arguments):
    """What the main() of an example returns."""
    return runpy.run_path(str(FOLDER / f"{name}.py"))["main"](**arguments)


def test_all_examples_are_tested():
    text = Path(__file__).read_text()
    assert all(f'result("{file.stem}"' in text for file in FOLDER.glob("*.py"))


def test_gradient_strategies_agree():
    found = result("gradients")
    for name in ("Replay", "Adjoint"):
        for one, other in zip(found["Direct"], found[name], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_a_ball_bounces_at_the_exact_times():
    """The first fall takes sqrt(2 h / g), each arc after a bounce 0.8 of the one before."""
    times, slope, exact = result("events")
    first = (2 * 2.0 / 9.81) ** 0.5
    arcs = torch.tensor([2 * first * 0.8**k for k in range(1, 5)], dtype=torch.float64)
    expected = torch.cat((torch.tensor([first], dtype=torch.float64), first + arcs.cumsum(0)))
    torch.testing.assert_close(times, expected, rtol=1e-7, atol=0)
    assert slope == pytest.approx(exact, rel=1e-6)


def test_a_field_is_learned():
    before, after = result("fit_field")
    assert after < 0.15 < 1 < before


def test_a_density_is_learned_and_sums_to_one():
    before, after, integral = result("density")
    assert after > before + 0.5
    assert integral == pytest.approx(1, abs=0.02)


def test_a_stiff_reaction_is_solved_as_by_scipy():
    final, slope, steps, failure = result("stiff")

    def end(rates):
        def f(t, y):
            one, two, three = rates[0] * y[0], rates[1] * y[1] ** 2, rates[2] * y[1] * y[2]
            return [three - one, one - two - three, two]

        solved = solve_ivp(f, (0, 1e4), [1.0, 0, 0], method="Radau", rtol=1e-10, atol=1e-13)
        return solved.y[:, -1]

    assert final.tolist() == pytest.approx(end([0.04, 3e7, 1e4]).tolist(), rel=1e-4)
    by_difference = (end([0.0401, 3e7, 1e4])[2] - end([0.0399, 3e7, 1e4])[2]) / 2e-4
    assert slope[0].item() == pytest.approx(by_difference, rel=1e-2)
    assert steps < 300 and "stiff" in failure


def test_the_drop_in_agrees_with_torchdiffeq():
    from torchdiffeq import odeint

    found = result("from_torchdiffeq")
    module = runpy.run_path(str(FOLDER / "from_torchdiffeq.py"))
    y0 = torch.tensor([[1.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    f = module["Pendulum"]()
    theirs = odeint(f, y0, torch.tensor([0.0, 4.0], dtype=torch.float64), rtol=1e-9, atol=1e-9)[-1]
    (gradient,) = torch.autograd.grad(theirs.sum(), f.damping)
    for end, ours in found.values():
        torch.testing.assert_close(end, theirs.detach(), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(ours, gradient, rtol=1e-5, atol=1e-5)
