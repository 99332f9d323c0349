"""Divergence estimators: what their probes add up to, and traces against autograd's Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from node_runner.flow import Exact, Gaussian, Rademacher, divergence, divergence_and_vjps

EVENTS = [(3,), (2, 2, 2), (1,)]
events = pytest.mark.parametrize("event", EVENTS, ids=str)
RANDOM = {f"{kind.__name__}-{n}": kind(n) for kind in (Rademacher, Gaussian) for n in (1, 4)}
random = pytest.mark.parametrize("divergence", RANDOM.values(), ids=RANDOM)


class Mixing(nn.Module):
    """A field whose Jacobian is full, not symmetric, and depends on the sample and the time."""

    def __init__(self, event):
        super().__init__()
        self.event, d = event, torch.Size(event).numel()
        self.inner, self.outer = nn.Linear(d, 7).double(), nn.Linear(7, d).double()

    def forward(self, t, x):
        return self.outer(torch.tanh(self.inner(x.flatten(1)) + t)).view(x.shape)


def jacobians(f, t, x):
    """(B, D, D), sample by sample, by autograd."""
    d = x[0].numel()
    return torch.stack(
        [
            torch.autograd.functional.jacobian(lambda p: f(t, p[None])[0], point).reshape(d, d)
            for point in x
        ]
    )


def second_moment(probes):
    """sum_k e_k e_k^T for each sample: (B, D, D)."""
    flat = probes.flatten(2)
    return torch.einsum("kbi,kbj->bij", flat, flat)


@events
def test_exact_probes_are_a_basis(event, draw):
    x = draw(5, *event)
    probes = Exact().probes(x)
    d = x[0].numel()
    assert probes.shape == (d, 5, *event) and probes.dtype == x.dtype
    assert torch.equal(second_moment(probes), torch.eye(d, dtype=x.dtype).expand(5, d, d))


@events
@random
def test_random_probes_add_up_to_the_identity_in_the_mean(divergence, event, draw):
    """Over 20,000 samples; each entry's variance is at most 2 a probe, so 5 standard errors."""
    x = draw(20_000, *event)
    probes = divergence.probes(x)
    assert probes.shape == (divergence.count, *x.shape) and probes.dtype == x.dtype
    d = x[0].numel()
    error = (second_moment(probes).mean(0) - torch.eye(d, dtype=x.dtype)).abs().max()
    assert error < 5 * (2 / divergence.count / 20_000) ** 0.5


@random
def test_random_probes_are_drawn_anew_and_follow_the_seed(divergence, draw):
    x = draw(5, 3)
    first, second = divergence.probes(x), divergence.probes(x)
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(divergence.probes(x), first)


def test_rademacher_probes_are_signs(draw):
    assert set(Rademacher().probes(draw(50, 3)).unique().tolist()) == {-1.0, 1.0}


def test_probes_of_samples_differ(draw):
    assert len(Rademacher().probes(draw(64, 32))[0].unique(dim=0)) == 64


@events
def test_exact_divergence_is_the_trace(event, draw):
    f, t, x = Mixing(event), draw(), draw(4, *event)
    found = divergence_and_vjps(f, t, x, Exact().probes(x))
    traces = jacobians(f, t, x).diagonal(dim1=1, dim2=2).sum(1)
    assert found.dx.shape == x.shape and found.div.shape == (4,)
    assert torch.equal(found.dx, f(t, x))
    torch.testing.assert_close(found.div, traces, rtol=1e-12, atol=1e-13)


@events
def test_rows_are_those_of_the_jacobian(event, draw):
    """And so their squares add up to the Frobenius norm."""
    f, t, x = Mixing(event), draw(), draw(4, *event)
    rows = divergence_and_vjps(f, t, x, Exact().probes(x)).vjps
    expected = jacobians(f, t, x)
    torch.testing.assert_close(rows.flatten(2).transpose(0, 1), expected, rtol=1e-12, atol=1e-13)
    frobenius = rows.square().sum(0).flatten(1).sum(1)
    torch.testing.assert_close(frobenius, expected.square().sum((1, 2)), rtol=1e-12, atol=0)


@random
def test_random_rows_are_probes_times_the_jacobian(divergence, draw):
    """One probe takes a way of its own past vmap."""
    f, t, x = Mixing((2, 2, 2)), draw(), draw(4, 2, 2, 2)
    probes = divergence.probes(x)
    found = divergence_and_vjps(f, t, x, probes)
    expected = torch.einsum("kbi,bij->kbj", probes.flatten(2), jacobians(f, t, x))
    torch.testing.assert_close(found.vjps.flatten(2), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        found.div, (expected * probes.flatten(2)).sum((0, 2)), rtol=1e-12, atol=1e-13
    )


@random
def test_random_divergence_is_unbiased(divergence, draw):
    """The mean over 20,000 probes is within 4 standard errors of the trace, and the same holds for
    the Frobenius norm.
    """
    f, t, x = Mixing((3,)), draw(), draw(1, 3)
    jacobian = jacobians(f, t, x)[0]
    many = x.expand(20_000, 3)
    found = divergence_and_vjps(f, t, many, divergence.probes(many))
    for values, exact in (
        (found.div, jacobian.trace()),
        (found.vjps.square().sum((0, 2)), jacobian.square().sum()),
    ):
        standard_error = values.std() / 20_000**0.5
        assert (values.mean() - exact).abs() < 4 * standard_error
        assert standard_error < 0.1 * exact.abs()


@pytest.mark.parametrize("entries", [1, 12 * 4, 12 * 5 + 1, 12 * 12], ids="{} entries".format)
@pytest.mark.parametrize("kind", [Exact(), Gaussian(7)], ids=["exact", "gaussian"])
def test_probes_pushed_in_chunks_give_the_same_divergence(kind, entries, monkeypatch, draw):
    """Chunks of one probe, of a divisor of their number and of others, with their gradients."""
    f, t, x = Mixing((3, 2, 2)), draw(), draw(4, 3, 2, 2)
    assert x.numel() == 12 * 4
    probes, found = kind.probes(x), []
    for limit in (2**20, entries):
        monkeypatch.setattr(divergence, "_CHUNK", limit)
        pushed = divergence_and_vjps(f, t, x, probes)
        (gradient,) = torch.autograd.grad(pushed.div.sum(), f.inner.weight)
        found.append((*pushed, gradient))
    for whole, chunked in zip(*found, strict=True):
        assert whole.shape == chunked.shape
        torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=1e-13)


def test_probes_are_pushed_no_more_than_so_many_entries_at_once(monkeypatch, draw):
    """Of 12 probes of 48 entries, five at once where 250 are allowed."""
    seen, vmap = [], torch.func.vmap
    monkeypatch.setattr(divergence, "_CHUNK", 250)
    monkeypatch.setattr(
        torch.func, "vmap", lambda f, chunk_size: seen.append(chunk_size) or vmap(f)
    )
    x = draw(4, 3, 2, 2)
    divergence_and_vjps(Mixing((3, 2, 2)), draw(), x, Exact().probes(x))
    divergence_and_vjps(Mixing((3, 2, 2)), draw(), x[:1], Exact().probes(x[:1]))
    assert seen == [5, None]


def test_an_exact_divergence_beyond_its_limit_says_its_cost_and_what_to_use(draw):
    message = (
        "exact divergence of 129 dimensions takes 129 vector-Jacobian products .*"
        "divergence=rademacher and eval_divergence=rademacher take one .* are unbiased"
    )
    with pytest.raises(ValueError, match=message):
        Exact().check(129)
    with pytest.raises(ValueError, match=message):
        Exact().probes(draw(2, 3, 43))
    Exact().check(128)
    assert len(Exact(limit=129).probes(draw(2, 3, 43))) == 129


@random
def test_random_probes_are_for_any_number_of_dimensions(divergence):
    divergence.check(10**9)


@pytest.mark.parametrize("kind", [Rademacher, Gaussian])
def test_fewer_than_one_probe_are_refused(kind):
    with pytest.raises(ValueError, match=r"count is 0, must be at least 1"):
        kind(0)


@pytest.mark.parametrize("divergence", [Exact(), Rademacher(), Gaussian(4)], ids=str)
def test_divergence_is_differentiable_in_state_and_parameters(divergence, draw):
    """The loss of a flow contains it, so its gradient takes second derivatives of f."""
    f, t, x = Mixing((3,)), draw(), draw(2, 3).requires_grad_()
    probes = divergence.probes(x.detach())
    w = f.inner.weight

    def div(x, w):
        return torch.func.functional_call(
            Trace(f), {"f.inner.weight": w}, (t, x, probes), tie_weights=False
        )

    assert torch.autograd.gradcheck(div, (x, w), atol=1e-7)


class Trace(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, t, x, probes):
        return divergence_and_vjps(self.f, t, x, probes).div
