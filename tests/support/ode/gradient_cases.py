"""A nonlinear field of time, state and parameters, solved in all the forms a state can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from node_runner.ode import Adjoint, Direct, Quadrature, Replay
from support.ode.problems import NAMES, Net

TIMES = (0.0, 0.21, 0.25, 0.9, 1.3)  # two close together, none on a grid of 0.05 but by chance

STRATEGIES = {"direct": Direct(), "replay": Replay(), "bounded": Replay(2), "adjoint": Adjoint()}


@dataclass
class Case:
    """A field with parameters, where it starts, when it is read, and what is integrated beside."""

    f: nn.Module
    y0: tuple[torch.Tensor, ...]
    ts: tuple[float, ...] = TIMES
    single: bool = True
    quadratures: tuple[Quadrature, ...] = ()


class Pair(nn.Module):
    """A field on (2, 2) and (3,), coupled through a small net."""

    def __init__(self):
        super().__init__()
        self.net = Net(7)

    def forward(self, t, state):
        a, b = state
        rate = self.net(t, torch.cat([a.reshape(-1), b]))
        return rate[:4].view(2, 2) * b.sum().sin(), rate[4:] - b


class WithIntegrals(nn.Module):
    """A net, the integral of its energy and, with parameters of its own, of a shifted state."""

    def __init__(self):
        super().__init__()
        self.net, self.shift = Net(3), nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, t, y):
        rate = self.net(t, y)
        return rate, (rate.square().sum(), t * (y[:2] + self.shift) ** 2)


class PairWithIntegrals(nn.Module):
    """A ``Pair`` with the integrals of an energy and, with a parameter of its own, of a vector."""

    def __init__(self):
        super().__init__()
        self.pair, self.shift = Pair(), nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, t, state):
        a, b = self.pair(t, state)
        return (a, b), (a.square().sum(), t * (state[1][:2] + self.shift) ** 2)


def make_case(kind):
    torch.manual_seed(3)
    start = torch.randn(7, dtype=torch.float64)
    if kind == "tuple, quadratures":
        zeros = Quadrature(torch.zeros((), dtype=torch.float64), 0.0), Quadrature(start[5:])
        return Case(PairWithIntegrals(), (start[:4].view(2, 2), start[4:]), TIMES, False, zeros)
    if kind == "tuple":
        return Case(Pair(), (start[:4].view(2, 2), start[4:]), single=False)
    if kind == "quadratures":
        starts = (torch.zeros((), dtype=torch.float64), start[5:])
        weighed = tuple(Quadrature(q, w) for q, w in zip(starts, (0.0, 1.0), strict=True))
        return Case(WithIntegrals(), (start[:3],), quadratures=weighed)
    return Case(Net(3), (start[:3],), TIMES[::-1] if kind == "reverse" else TIMES)


KINDS = ("tensor", "reverse", "tuple", "quadratures")
# Every method with what asks most of it; every kind with one method of each sort.
METHODS_AND_KINDS = [(name, "quadratures") for name in NAMES]
METHODS_AND_KINDS += [(name, kind) for name in ("dopri5", "rk4") for kind in KINDS[:3]]


def gradients(solver, case, times=True) -> tuple[dict[str, torch.Tensor], Any]:
    """Gradients, by name, of a fixed random functional of everything a solve returns."""
    y0 = [y.clone().requires_grad_() for y in case.y0]
    starts = [q.start.clone().requires_grad_() for q in case.quadratures]
    ts = torch.tensor(case.ts, dtype=torch.float64, requires_grad=times)
    solution = solver(
        case.f,
        y0[0] if case.single else tuple(y0),
        ts,
        quadratures=[
            Quadrature(s, q.weight) for s, q in zip(starts, case.quadratures, strict=True)
        ],
    )
    outputs = [*([solution.ys] if case.single else solution.ys), *solution.quadratures]
    generator = torch.Generator().manual_seed(5)
    loss = sum(
        (o * torch.randn(o.shape, generator=generator, dtype=o.dtype)).sum() for o in outputs
    )
    inputs = {f"y0[{i}]": y for i, y in enumerate(y0)}
    inputs |= {f"quadrature {i}": s for i, s in enumerate(starts)}
    inputs |= dict(case.f.named_parameters())
    inputs |= {"ts": ts} if times else {}
    found = torch.autograd.grad(loss, list(inputs.values()))
    return dict(zip(inputs, found, strict=True)), solution.stats


def largest_difference(a, b):
    return max((a[name] - b[name]).abs().max().item() for name in a)
