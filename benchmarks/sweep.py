"""Overhead of a sweep over its jobs: composition, checks, the table at the end.

One process runs `node-run -m` with a job for each seed, and its time is compared with the sum of
the jobs' own, from their configuration to result.json. What is left over is all that the sweep
adds, the first import of torch aside, which any run pays. The same jobs are then run by two
processes at once (launcher=joblib), and one by one as a person would type them.

    python -m benchmarks.sweep
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

import node_runner.runs.build  # noqa: F401  what the first job would otherwise import
from benchmarks.harness import begin, bullets, environment, parser, report, table
from node_runner import cli

JOBS, STEPS, LIMIT = 4, 100, 0.05


@contextmanager
def clock(seconds: list[float]) -> Iterator[None]:
    """Add the seconds that the block takes."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds.append(time.perf_counter() - start)


def swept(folder: Path, options: list[str], jobs_expected: int) -> tuple[float, float]:
    """Return the seconds of a sweep in this process, and those of its jobs."""
    jobs: list[float] = []
    whole: list[float] = []
    command_line = import_module("node_runner.cli.main")  # not the function of that name
    job = command_line._job

    def timed(config: object) -> int:
        with clock(jobs):
            return job(config)

    command_line._job = timed
    try:
        with clock(whole), redirect_stdout(StringIO()):
            cli.main(["-m", *options, f"seed=range({jobs_expected})", f"paths.out={folder}"])
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        command_line._job = job
    assert len(jobs) == jobs_expected
    return whole[0], sum(jobs)


def called(*options: str) -> float:
    """Seconds of node-run in a process of its own."""
    seconds: list[float] = []
    with clock(seconds):
        subprocess.run(
            [sys.executable, "-m", "node_runner", *options],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    return seconds[0]


def main() -> int:
    args = begin(parser(__doc__))
    jobs_count, steps = (1, 1) if args.smoke else (JOBS, STEPS)
    options = [f"trainer.max_steps={steps}", "runtime.threads=1"]
    if args.smoke:
        options += ["data.test_size=100", "data.validation_size=100", "task.grid=10"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, jobs = swept(folder / "sweep", options, jobs_count)
        alone = sum(
            called(*options, f"seed={seed}", f"paths.out={folder / 'one'}")
            for seed in range(jobs_count)
        )
        seeds = [f"seed=range({jobs_count})", f"paths.out={folder / 'two'}", "launcher=joblib"]
        beside = called("-m", *options, *seeds)
    overhead = (whole - jobs) / jobs
    rows = [
        ["the jobs of a sweep, alone", f"{jobs:.1f} s", "1.000"],
        ["the sweep, in the same process", f"{whole:.1f} s", f"{whole / jobs:.3f}"],
        ["two jobs at once, launcher=joblib", f"{beside:.1f} s", f"{beside / jobs:.3f}"],
        [f"{jobs_count} calls of node-run", f"{alone:.1f} s", f"{alone / jobs:.3f}"],
    ]
    where = environment("sweep", args, ["torch", "hydra-core"])
    verdict = f"overhead of the sweep {overhead:.1%}, aim below {LIMIT:.0%}: {overhead < LIMIT}"
    header = [f"{jobs_count} jobs of {steps} steps", "time", "/ jobs alone"]
    report("sweep", args, [where, table(header, rows), bullets([verdict])])
    return 0


if __name__ == "__main__":
    sys.exit(main())
