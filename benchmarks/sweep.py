"""What a sweep costs over its jobs: composing, checking and telling of them.

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
from io import StringIO
from pathlib import Path

import node_runner.build  # noqa: F401  what the first job would otherwise import
from benchmarks.harness import begin, bullets, environment, parser, report, table
from node_runner import cli

JOBS, STEPS, LIMIT = 4, 100, 0.05
OPTIONS = [f"trainer.max_steps={STEPS}", "runtime.threads=1"]
SEEDS = f"seed=range({JOBS})"


@contextmanager
def clock(seconds: list[float]) -> Iterator[None]:
    """Add the seconds that the block takes."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds.append(time.perf_counter() - start)


def swept(folder: Path) -> tuple[float, float]:
    """Seconds of a sweep in this process, and of its jobs."""
    jobs: list[float] = []
    whole: list[float] = []
    job = cli.job

    def timed(config: object) -> int:
        with clock(jobs):
            return job(config)

    cli.job = timed
    try:
        with clock(whole), redirect_stdout(StringIO()):
            cli.main(["-m", *OPTIONS, SEEDS, f"paths.out={folder}"])
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        cli.job = job
    assert len(jobs) == JOBS
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, jobs = swept(folder / "sweep")
        alone = sum(
            called(*OPTIONS, f"seed={seed}", f"paths.out={folder / 'one'}") for seed in range(JOBS)
        )
        beside = called("-m", *OPTIONS, SEEDS, f"paths.out={folder / 'two'}", "launcher=joblib")
    overhead = (whole - jobs) / jobs
    rows = [
        ["the jobs of a sweep, alone", f"{jobs:.1f} s", "1.000"],
        ["the sweep, in the same process", f"{whole:.1f} s", f"{whole / jobs:.3f}"],
        ["two jobs at once, launcher=joblib", f"{beside:.1f} s", f"{beside / jobs:.3f}"],
        [f"{JOBS} calls of node-run", f"{alone:.1f} s", f"{alone / jobs:.3f}"],
    ]
    where = environment("sweep", args, ["torch", "hydra-core"])
    verdict = f"overhead of the sweep {overhead:.1%}, aim below {LIMIT:.0%}: {overhead < LIMIT}"
    header = [f"{JOBS} jobs of {STEPS} steps", "time", "/ jobs alone"]
    report("sweep", args, [where, table(header, rows), bullets([verdict])])
    return 0


if __name__ == "__main__":
    sys.exit(main())
