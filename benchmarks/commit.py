"""The solver of this tree beside that of an earlier commit, both in one process and in turns.

The package as it was is read out of git's history under another name. Cases are the smallest that
matter: a van der Pol batch and the 3/8 rule, of which the solver's own work is most of the time; a
training step of a toy flow's size by each gradient strategy; a solve of fourteen evaluations; and
the same compiled. Ratios are medians of those within a round. Without --commit the package stands
beside a copy of itself, which shows the noise.

    python -m benchmarks.commit --commit 514de74
"""

from __future__ import annotations

import importlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

import node_runner.ode
from benchmarks.harness import begin, environment, interleave, parser, report, table
from benchmarks.problems import van_der_pol

OLD = "earlier_node_runner"
FILL = 0.03  # seconds of a turn
Case = Callable[[ModuleType], Callable[[], object]]


def package_of(commit: str | None, folder: Path) -> ModuleType:
    """``node_runner.ode`` of a commit, or a copy of this tree's, under another name.

    Raises:
        SystemExit: where there is no such commit.
    """
    root = Path(__file__).parents[1]
    if commit is None:
        shutil.copytree(root / "node_runner", folder / OLD)
    else:
        command = ["git", "-C", str(root), "archive", commit, "node_runner"]
        found = subprocess.run(command, capture_output=True)
        if found.returncode:
            raise SystemExit(f"there is no commit {commit} here: {found.stderr.decode().strip()}")
        with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
            archive.extractall(folder, filter="data")
        (folder / "node_runner").rename(folder / OLD)
    for file in (folder / OLD).rglob("*.py"):
        file.write_text(file.read_text().replace("node_runner", OLD))
    sys.path.insert(0, str(folder))
    return importlib.import_module(f"{OLD}.ode")


def forward(method: str, **options: object) -> Case:
    """A solve of van der Pol's oscillator without gradient."""
    problem = van_der_pol()
    y0 = problem.y0.float()

    def case(ode: ModuleType) -> Callable[[], object]:
        solver = ode.Solver(method, **options)

        @torch.no_grad()
        def run() -> object:
            return solver(problem.f, y0, [0.0, problem.end]).final

        return run

    return case


def training(strategy: str, engine: str = "eager") -> Case:
    """A solve of a net of 2-64-64-2 on 256 points, and its gradient."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    start, params = torch.randn(256, 2), [*net.parameters()]

    def f(t: Tensor, y: Tensor) -> Tensor:
        return net(y)

    def case(ode: ModuleType) -> Callable[[], object]:
        solver = ode.Solver("dopri5", 1e-5, 1e-5, gradient=getattr(ode, strategy)(), engine=engine)
        return lambda: solver(f, start, [0.0, 1.0], params=params).final.square().sum().backward()

    return case


def tiny(ode: ModuleType) -> Callable[[], object]:
    solver, y0 = ode.Solver("dopri5", 1e-3, 1e-3), torch.ones(4)

    @torch.no_grad()
    def run() -> object:
        return solver(lambda t, y: -y, y0, [0.0, 1.0]).final

    return run


CASES: dict[str, Case] = {
    "van der Pol, dopri5": forward("dopri5", rtol=1e-5, atol=1e-5),
    "van der Pol, 3/8 rule": forward("rk38", step_size=0.05),
    "training step, Direct": training("Direct"),
    "training step, Replay": training("Replay"),
    "training step, Adjoint": training("Adjoint"),
    "14 evaluations of -y": tiny,
}
COMPILED: dict[str, Case] = {
    "van der Pol, dopri5, compiled": forward("dopri5", rtol=1e-5, atol=1e-5, engine="compiled"),
    "training step, Direct, compiled": training("Direct", "compiled"),
    "training step, Replay, compiled": training("Replay", "compiled"),
}


def main() -> None:
    made = parser(__doc__, rounds=True)
    made.add_argument("--commit", help="to compare with, default a copy of this tree")
    made.add_argument("--eager", action="store_true", help="leave out what is compiled")
    args = begin(made)
    cases = CASES if args.smoke or args.eager else CASES | COMPILED
    with tempfile.TemporaryDirectory() as folder:
        earlier, rows = package_of(args.commit, Path(folder)), []
        for name, case in cases.items():
            runs = {"earlier": case(earlier), "now": case(node_runner.ode)}
            timings = interleave(runs, args.rounds, 0.0 if args.smoke else FILL)
            ratio = timings["now"].over(timings["earlier"])
            rows.append([name, timings["earlier"].ms, timings["now"].ms, f"{ratio:.3f}"])
    header = ["case", f"{args.commit or 'copy'}, ms", "now, ms", "now / earlier"]
    report("commit", args, [environment("commit", args, ["torch"]), table(header, rows)])


if __name__ == "__main__":
    main()
