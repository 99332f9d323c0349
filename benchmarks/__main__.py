"""All benchmarks in order, each in a process of its own so that none inherits another's state.

python -m benchmarks [--out DIR] [--smoke]
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

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


def main() -> int:
    args = begin(parser(__doc__))
    options = [] if args.out is None else ["--out", str(args.out)]
    options += ["--smoke"] if args.smoke else []

    def run(name: str) -> int:
        return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options]).returncode

    # Timed, one at a time; a smoke round measures nothing and may use all cores.
    with ThreadPoolExecutor((os.cpu_count() or 1) if args.smoke else 1) as pool:
        failed = [name for name, code in zip(NAMES, pool.map(run, NAMES), strict=True) if code]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
