"""What a gradient keeps in memory, against the tolerance.

A tanh network of width 64 on 16 dimensions, batch 128, float64, [0, 5], dopri5 at rtol = atol =
1e-2 ... 1e-8: node_runner's Direct, Replay and Adjoint and, where it is installed, torchdiffeq's
odeint and odeint_adjoint. Counted by saved-tensor hooks: the bytes of the distinct storages that
the graph holds, the parameters' own apart. ``held`` is their sum when the loss is known;
``rebuilt`` is the most that graphs made on the way back hold at one time, on top of it: one step
for Replay, an evaluation for an adjoint. A solver's own buffers, held by no graph, do not count.

    python -m benchmarks.memory
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from weakref import finalize

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.harness import begin, environment, parser, report, table
from node_runner.ode import Adjoint, Direct, Replay, Solver

TOLERANCES = [10.0**-k for k in range(2, 9)]
BATCH, DIM, WIDTH, END = 128, 16, 64, 5.0
KIB = 1024
PEER = "torchdiffeq odeint"

Solve = Callable[[nn.Module, Tensor, float], Tensor]  # (f, y0, tol) -> y(END)


class TanhField(nn.Module):
    """y' = tanh(W1 [y, t]) W2 - y / 10; counts the steps that torchdiffeq reports to it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        kind = {"generator": generator, "dtype": torch.float64}
        self.inner = nn.Parameter(torch.randn(DIM, WIDTH, **kind) / 2)
        self.time = nn.Parameter(torch.randn(WIDTH, **kind) / 2)
        self.outer = nn.Parameter(torch.randn(WIDTH, DIM, **kind) / 4)
        self.steps = 0

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.inner + t * self.time) @ self.outer - 0.1 * y

    def callback_accept_step(self, t0: Tensor, y0: Tensor, dt: Tensor) -> None:
        self.steps += 1


class Saved:
    """A tensor that a graph holds; it dies with the node that saved it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Ledger:
    """Bytes that graphs hold at the moment, each storage once, those of the parameters never."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        self.excluded = {p.untyped_storage().data_ptr() for p in params}
        self.holders: Counter[int] = Counter()
        self.held = self.peak = 0
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda saved: saved.tensor)

    def __enter__(self) -> Ledger:
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)

    def pack(self, tensor: Tensor) -> Saved:
        # Detached: with its grad_fn the tensor would keep alive the node that saved it.
        saved, storage = Saved(tensor.detach()), tensor.untyped_storage()
        if storage.data_ptr() not in self.excluded:
            if not self.holders[storage.data_ptr()]:
                self.held += storage.nbytes()
            self.holders[storage.data_ptr()] += 1
            self.peak = max(self.peak, self.held)
            finalize(saved, self.release, storage.data_ptr(), storage.nbytes())
        return saved

    def release(self, pointer: int, size: int) -> None:
        self.holders[pointer] -= 1
        if not self.holders[pointer]:
            self.held -= size


def contestants() -> dict[str, Solve]:
    def ours(strategy: object) -> Solve:
        return lambda f, y0, tol: (
            Solver("dopri5", tol, tol, gradient=strategy)(f, y0, [0.0, END]).final
        )

    def theirs(solve: Callable) -> Solve:
        ts = torch.tensor([0.0, END], dtype=torch.float64)
        return lambda f, y0, tol: solve(f, y0, ts, rtol=tol, atol=tol, method="dopri5")[-1]

    found = {"Direct": ours(Direct()), "Replay": ours(Replay()), "Adjoint": ours(Adjoint())}
    if find_spec("torchdiffeq"):
        peer = importlib.import_module("torchdiffeq")
        found |= {PEER: theirs(peer.odeint), f"{PEER}_adjoint": theirs(peer.odeint_adjoint)}
    return found


def measure(solve: Solve, y0: Tensor, tol: float) -> tuple[int, int]:
    """Bytes held after the forward pass, and rebuilt at one time on the way back."""
    f = TanhField()
    params = tuple(f.parameters())
    with Ledger(params) as forward:
        loss = solve(f, y0, tol).square().mean()
        held = forward.held
    # Once more without hooks: Replay and Adjoint know a parameter by its identity, and one that a
    # hook hands back is another tensor.
    del loss
    loss = solve(f, y0, tol).square().mean()
    with Ledger(params) as backward:
        torch.autograd.grad(loss, params)
    return held, backward.peak


@torch.no_grad()
def steps(runs: dict[str, Solve], y0: Tensor, tol: float) -> list[str]:
    """Accepted steps, ours and torchdiffeq's where it is there."""
    f = TanhField()
    counts = [Solver("dopri5", tol, tol)(f, y0, [0.0, END]).stats.forward.accepted]
    if PEER in runs:
        runs[PEER](f, y0, tol)
        counts.append(f.steps)
    return [str(count) for count in counts]


def plot(found: dict[str, list[tuple[int, int]]], path: Path) -> None:
    figure = Figure(figsize=(8.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, sizes in found.items():
        axes.loglog(TOLERANCES[: len(sizes)], [held / KIB for held, _ in sizes], "o-", label=name)
    axes.invert_xaxis()
    axes.set(xlabel="rtol = atol", ylabel="KiB held for backward")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0))
    figure.savefig(path, dpi=150)


def main() -> None:
    args = begin(parser(__doc__))
    generator = torch.Generator().manual_seed(0)
    y0 = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64)
    runs = contestants()
    tolerances = TOLERANCES[:1] if args.smoke else TOLERANCES
    found = {name: [measure(run, y0, tol) for tol in tolerances] for name, run in runs.items()}
    taken = [steps(runs, y0, tol) for tol in tolerances]
    header = ["tol", *["steps", "steps, torchdiffeq"][: len(taken[0])], *found]
    parts = []
    for kind, title in enumerate(("KiB held for backward", "KiB rebuilt at one time")):
        rows = [
            [f"{tol:.0e}", *taken[i], *(f"{sizes[i][kind] / KIB:.0f}" for sizes in found.values())]
            for i, tol in enumerate(tolerances)
        ]
        parts += [title, table(header, rows)]
    packages = ["torch", *(["torchdiffeq"] if PEER in found else [])]
    report("memory", args, [environment("memory", args, packages), *parts])
    if args.out is not None:
        plot(found, args.out / "memory.png")


if __name__ == "__main__":
    main()
