"""Peak memory of a stiff solve against the size of the batch, with both kinds of Jacobian.

HIRES (benchmarks/stiff.py), 8 numbers a row, from B starts that differ by up to a tenth, in float64
at rtol 1e-4. The peak is that of all tensors that torch holds at one time, buffers of its linear
algebra included, by the profiler's record of the CPU allocator, less what is there before the
solve: of a solve without gradient, and of one with its gradient in y0, by Direct.

    python -m benchmarks.stiff_memory
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, product

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import begin, environment, parser, report, table
from benchmarks.stiff import Stiff, hires
from node_runner.ode import Solver

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own lines on its start and stop
RTOL, ATOL, KIB = 1e-4, 1e-7, 1024
METHODS = ("kvaerno5", "bdf")
SIZES = {"rows": (64, 128, 256, 512), "full": (8, 16, 32, 64)}
HEADER = ["method", "jacobian", "B", "steps", "solve, KiB", "a row"]
HEADER += ["with gradient, KiB", "a row"]


def starts(problem: Stiff, batch: int) -> Tensor:
    """(batch, 8)."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(batch, problem.y0.shape[1], generator=generator, dtype=torch.float64)
    return problem.y0 * (1 + spread / 10)


def peak(run: Callable[[], object]) -> int:
    """The most bytes that torch held at one time above those at the start."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    # Events of the public interface leave out allocations within an operation.
    events = recorded.profiler.kineto_results.events()
    return max(accumulate(event.nbytes() for event in events if event.name() == "[memory]"))


def measure(problem: Stiff, method: str, jacobian: str, batch: int) -> list[str]:
    """Cells from the number of steps on."""
    y0, constants = starts(problem, batch), torch.ones(batch, dtype=torch.float64)
    solver = Solver(method, RTOL, ATOL, jacobian=jacobian)

    def f(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack(problem.equations(*y.unbind(1), constants), dim=1)

    @torch.no_grad()
    def solve() -> int:
        return solver(f, y0, [0.0, problem.end]).stats.forward.accepted

    def differentiate() -> None:
        start = y0.clone().requires_grad_()
        solver(f, start, [0.0, problem.end]).final.square().sum().backward()

    peaks = peak(solve) / KIB, peak(differentiate) / KIB
    return [str(solve()), *(cell for p in peaks for cell in (f"{p:.0f}", f"{p / batch:.1f}"))]


def main() -> None:
    args = begin(parser(__doc__))
    problem, rows = hires(), []
    problem = replace(problem, end=0.01) if args.smoke else problem
    for method, (jacobian, sizes) in product(METHODS, SIZES.items()):
        for batch in sizes[:1] if args.smoke else sizes:
            cells = measure(problem, method, jacobian, batch)
            rows.append([method, jacobian, str(batch), *cells])
    about = environment("stiff_memory", args, ["torch"])
    report("stiff_memory", args, [about, table(HEADER, rows)])


if __name__ == "__main__":
    main()
