"""All benchmarks in order, each in a process of its own so that none inherits another's state.

python -m benchmarks [--out DIR] [--smoke]
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback

from benchmarks.harness import begin, parser

NAMES = (
    "van_der_pol",
    "compiled",
    "ffjord_step",
    "tabular_step",
    "image_step",
    "odenet_step",
    "latent_step",
    "evaluations",
    "outputs",
    "adams",
    "stiff",
    "stiff_memory",
    "stiff_training",
    "memory",
    "commit",
    "runner",
    "sweep",
)


def run(name: str, options: list[str]) -> int:
    """Run a benchmark in a process of its own; return its exit code."""
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options]).returncode


def smoke(name: str, options: list[str]) -> int:
    """Run a benchmark in this process, a fork that has torch already; return its exit code."""
    sys.argv = [name, *options]
    try:
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def main() -> int:
    args = begin(parser(__doc__))
    options = [] if args.out is None else ["--out", str(args.out)]
    if args.smoke:
        # It measures nothing, so that all cores may be used, and one import serves all.
        importlib.import_module("node_runner.runs.build")
        with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
            calls = [(name, [*options, "--smoke"]) for name in NAMES]
            codes = pool.starmap(smoke, calls, chunksize=1)
    else:
        codes = [run(name, options) for name in NAMES]
    failed = [name for name, code in zip(NAMES, codes, strict=True) if code]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
