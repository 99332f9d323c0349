"""What the benchmarks share: timing side by side, peers, the environment, tables."""

from __future__ import annotations

import argparse
import datetime
import gc
import importlib
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of each counted round."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def noise(self) -> float:
        """Interquartile range over the median."""
        if len(self.seconds) < 2:
            return float("nan")
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median

    def over(self, other: Timing) -> float:
        """Median of the quotients within a round, which a busy spell of the machine leaves alone.

        The quotient of the two medians may compare a busy round with a quiet one.
        """
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(mine / its for mine, its in pairs)

    def times(self, factor: float) -> Timing:
        return Timing([factor * seconds for seconds in self.seconds])

    def plus(self, other: Timing) -> Timing:
        return Timing([a + b for a, b in zip(self.seconds, other.seconds, strict=True)])

    @property
    def ms(self) -> str:
        """The median in milliseconds and the noise in per cent, as a cell of a table."""
        return f"{1e3 * self.median:.2f} ± {self.noise:.0%}"


def interleave(
    runs: Mapping[str, Callable[[], Any]], rounds: int = 11, fill: float = 0.0
) -> dict[str, Timing]:
    """Time A B C A B C ..., so that whatever slows the machine slows all alike; one warm-up each.

    Garbage is collected before each run and not during another's, and what a run returns is freed
    within its own time. A run that takes less than ``fill`` seconds is repeated within its turn as
    often as that allows, and the time of one reported: else what the others and the collection left
    in the caches is much of what is measured.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    often = dict.fromkeys(runs, 1)
    for counted in range(-1, rounds):
        for name, run in runs.items():
            gc.collect()
            start = time.perf_counter()
            for _ in range(often[name]):
                run()
            took = (time.perf_counter() - start) / often[name]
            if counted >= 0:
                seconds[name].append(took)
            else:
                often[name] = max(1, int(fill / took))
    return {name: Timing(values) for name, values in seconds.items()}


def need(package: str, extra: str = "bench") -> ModuleType:
    """The package, or an end in one line that says how to get it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]  # the package, or one that it needs
        raise SystemExit(f"{missing} is not installed: pip install -e .[{extra}]") from None


def parser(doc: str, rounds: bool = False) -> argparse.ArgumentParser:
    """Return a parser with ``--out``, ``--smoke`` and, for a script that times, ``--rounds``."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="folder for the table (and plot)")
    made.add_argument(
        "--smoke", action="store_true", help="one round of the smallest size: shows that it runs"
    )
    if rounds:
        made.add_argument(
            "--rounds", type=int, default=11, help="counted rounds, default %(default)s"
        )
    return made


def begin(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line and pin torch to one thread; ``--smoke`` sets the smallest counts."""
    torch.set_num_threads(1)
    args = made.parse_args()
    if args.smoke:
        vars(args).update({key: 1 for key in ("rounds", "training", "seeds") if key in args})
    return args


def environment(name: str, args: argparse.Namespace, packages: Sequence[str]) -> str:
    """One line: versions, processor, threads, date and the command (without ``--out``)."""
    options = [
        f"--{key.replace('_', '-')}" + ("" if value is True else f" {value}")
        for key, value in vars(args).items()
        if key not in ("out", "smoke") and value is not None and value is not False
    ]
    options += ["--smoke"] if args.smoke else []
    parts = [f"{package} {version(package)}" for package in packages]
    parts += [f"Python {platform.python_version()}", processor()]
    parts += [f"{torch.get_num_threads()} thread", datetime.date.today().isoformat()]
    return f"{', '.join(parts)}, `{' '.join([f'python -m benchmarks.{name}', *options])}`"


def processor() -> str:
    """The kind of processor, and the instructions that torch found on it."""
    try:
        found = subprocess.run(["lscpu"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = ""
    names = [line.partition(":")[2].strip() for line in found.splitlines() if "odel name" in line]
    kind = names[0] if names else platform.processor() or platform.machine()
    return f"{kind} ({torch.backends.cpu.get_cpu_capability()})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, its columns padded: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    right = [all(row[i][:1] in "0123456789.-" for row in rows) for i in range(len(header))]
    rule = ["-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if r else cell.ljust(width)
            for cell, width, r in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), line(rule), *map(line, rows)])


def bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def report(name: str, args: argparse.Namespace, parts: Sequence[str]) -> None:
    """Print the parts and write them as ``name.md`` under ``--out``."""
    title = f"# {name}" + (" (smoke round: no measurement)" if args.smoke else "")
    text = "\n\n".join([title, *parts]) + "\n"
    print(text, flush=True)
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"{name}.md").write_text(text)
