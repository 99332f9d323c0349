"""Methods of one's own: a tableau, an object, a module elsewhere, or a yaml node."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support.ode.problems import logistic, logistic_exact, slope

from node_runner.ode import Adjoint, Direct, ImplicitTableau, Replay, Solver, Tableau, methods

SSP3 = {
    "order": 3,
    "c": (0.0, 1.0, 0.5),
    "a": ((), (1.0,), (0.25, 0.25)),
    "b": (1 / 6, 1 / 6, 2 / 3),
}
HEUN = {"order": 2, "c": (0.0, 1.0), "a": ((), (1.0,)), "b": (0.5, 0.5), "b_error": (-0.5, 0.5)}
THETA = {"order": 2, "c": (0.0, 1.0), "a": ((0.0, 0.0), (0.5, 0.5)), "b": (0.5, 0.5)}
Y0 = torch.tensor([0.2, 0.9], dtype=torch.float64)
FILE = """
from node_runner.ode import Tableau

TABLEAU = Tableau(order=3, c=(0, 1, 0.5), a=((), (1,), (0.25, 0.25)), b=(1 / 6, 1 / 6, 2 / 3))
EMPTY = 3


def make(order):
    return TABLEAU
"""
NODE = "{_target_: node_runner.ode.Solver, step_size: 0.1, method: %s}"
IN_YAML = (
    "{_target_: node_runner.ode.Tableau, order: 3, c: [0, 1, 0.5], a: [[], [1], [0.25, 0.25]],"
)
IN_YAML += f" b: [{1 / 6!r}, {1 / 6!r}, {2 / 3!r}]}}"


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "my_methods").mkdir()
    for name, text in {
        "__init__": "",
        "ssp3": FILE,
        "empty": "",
        "broken": "import not_there",
    }.items():
        (tmp_path / "my_methods" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    methods.get.cache_clear()


def from_yaml(method):
    return instantiate(OmegaConf.create(NODE % method), _convert_="all").scheme


WAYS = {
    "tableau": lambda: Tableau(**SSP3),
    "method": lambda: methods.resolve(Tableau(**SSP3))[1],
    "module": lambda: "my_methods.ssp3",
    "object": lambda: "my_methods.ssp3.TABLEAU",
    "yaml, dotted name": lambda: from_yaml("my_methods.ssp3"),
    "yaml, _target_": lambda: from_yaml("{_target_: my_methods.ssp3.make, order: 3}"),
    "yaml, coefficients": lambda: from_yaml(IN_YAML),
    "implicit": lambda: ImplicitTableau(**THETA),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_laws_of_order_and_gradients_hold(way, package):
    method, sizes, errors = WAYS[way](), (0.08, 0.04, 0.02), []
    ts = torch.linspace(0, 1.61, 30, dtype=torch.float64)
    for size in sizes:
        solver = Solver(method, step_size=size)
        ys = solver(logistic, Y0, ts).ys
        errors.append((ys - logistic_exact(ts[:, None], Y0)).abs().max().item())
    assert slope(sizes, errors) > solver.scheme.order - 0.35
    found = []
    for gradient in (Direct(), Replay(), Adjoint()):
        y0 = Y0.clone().requires_grad_()
        Solver(method, step_size=0.05, gradient=gradient)(logistic, y0, ts).ys.sum().backward()
        found.append(y0.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[0], found[2], rtol=1e-2, atol=1e-2)


def test_an_error_estimate_makes_it_adaptive():
    errors = []
    for tol in (1e-3, 1e-5):
        solution = Solver(Tableau(**HEUN), tol, tol)(logistic, Y0, [0.0, 1.6])
        errors.append((solution.final - logistic_exact(torch.tensor(1.6), Y0)).abs().max().item())
        assert errors[-1] < 30 * tol and solution.stats.forward.rejected >= 0
    assert errors[1] < errors[0] / 3


def test_it_is_compiled_where_it_is_explicit_and_named_in_messages():
    assert Solver(Tableau(**SSP3), step_size=0.1, engine="compiled").method == "Tableau of order 3"
    with pytest.raises(ValueError, match="engine .* ImplicitTableau of order 2"):
        Solver(ImplicitTableau(**THETA), step_size=0.1, engine="compiled")


@pytest.mark.parametrize(
    "given, part",
    [
        ("no_such_package.ssp3", "no module 'no_such_package'"),
        ("my_methods.ssp4", "module 'my_methods' has no 'ssp4'"),
        ("my_methods.empty", "a module"),
        ("my_methods.ssp3.EMPTY", "a int"),
        (3, "a int"),
        (methods.get("adams").__class__, "a class"),
        (None, "a NoneType"),
    ],
    ids=str,
)
def test_what_is_no_method_is_refused_in_one_line(given, part, package):
    with pytest.raises(ValueError, match=r"^method is ") as raised:
        Solver(given)
    assert part in str(raised.value) and "\n" not in str(raised.value)


def test_a_mistake_inside_a_module_is_shown_as_it_is(package):
    with pytest.raises(ModuleNotFoundError, match="not_there"):
        Solver("my_methods.broken")
