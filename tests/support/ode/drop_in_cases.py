"""Fields and their gradients for the tests of the functions that stand in for torchdiffeq's."""

from __future__ import annotations

import torch
from torch import nn

from support.ode.problems import THEIR_ADAPTIVE, THEIR_EXPLICIT, THEIR_FIXED, THEIR_IMPLICIT, Net  # noqa: F401

DTYPE = torch.float64
FIXED = THEIR_FIXED
EXPLICIT = THEIR_EXPLICIT
ADAPTIVE = THEIR_ADAPTIVE
SCIPY = "scipy_solver"
THEIRS = ["dopri8", "dopri5", "bosh3", "fehlberg2", "adaptive_heun", *EXPLICIT]
THEIRS += ["explicit_adams", "implicit_adams", "fixed_adams", "scipy_solver"]
FORWARDS = torch.tensor([0.0, 0.3, 1.0, 2.0], dtype=DTYPE)
TIMES = {"forwards": FORWARDS, "backwards": FORWARDS.flip(0)}


class Field(nn.Module):
    """y' = net(t, y) cos t, with a parameter that is not used; counts its evaluations."""

    def __init__(self, dim=3):
        super().__init__()
        torch.manual_seed(1)
        self.net, self.calls = Net(dim), 0
        self.unused = nn.Parameter(torch.ones(2, dtype=DTYPE))

    def forward(self, t, y):
        self.calls += 1
        return self.net(t, y) * torch.cos(t)


class Pair(nn.Module):
    """A field on (2, 2) and (3,), coupled through one net."""

    def __init__(self):
        super().__init__()
        self.field = Field(7)

    def forward(self, t, state):
        a, b = state
        rate = self.field(t, torch.cat([a.reshape(-1), b]))
        return rate[:4].view(2, 2) * b.sum().sin(), rate[4:] - b


MATRIX = torch.tensor([[0.2 + 0.1j, 1.0], [-1.0, -0.1j]], dtype=torch.complex128)


def spiral(t, z):
    """z' = A z cos t, complex: z(t) = exp(A sin t) z(0)."""
    return MATRIX.to(z.dtype) @ z * torch.cos(t)


def spiral_exact(t, z0):
    return torch.stack([torch.linalg.matrix_exp(MATRIX * torch.sin(s)) @ z0 for s in t])


Z0 = torch.tensor([1 + 1j, 2 - 0.5j], dtype=torch.complex128)


def decay(t, y):
    """y' = -y cos t, of any dtype: y(t) = exp(-sin t) y(0)."""
    return -y * torch.cos(t)


def start(n=3, seed=0):
    return torch.randn(n, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))


def gradients(solve, field, y0, t, params=None, **keywords):
    """Values, and gradients of a fixed functional in y0, t and the parameters."""
    params = list(field.parameters()) if params is None else params
    y0 = [y.clone().requires_grad_() for y in (y0 if isinstance(y0, tuple) else (y0,))]
    t = t.clone().requires_grad_()
    ys = solve(field, y0[0] if len(y0) == 1 else tuple(y0), t, **keywords)
    ys = ys if isinstance(ys, tuple) else (ys,)
    weights = torch.Generator().manual_seed(7)
    loss = sum((y * torch.randn(y.shape, dtype=y.dtype, generator=weights)).real.sum() for y in ys)
    found = torch.autograd.grad(loss, [*y0, t, *params], allow_unused=True)
    return [y.detach() for y in ys], found


def differences(ours, theirs):
    """Largest difference of values and of gradients, None taken for zero."""
    values = max((a - b).abs().max().item() for a, b in zip(ours[0], theirs[0], strict=True))
    pairs = zip(ours[1], theirs[1], strict=True)
    return values, max(
        ((0 if a is None else a) - (0 if b is None else b)).abs().max().item()
        for a, b in pairs
        if a is not None or b is not None
    )
