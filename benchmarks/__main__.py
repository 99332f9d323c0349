"""All benchmarks in order, each in a process of its own so that none inherits another's state.

python -m benchmarks [--out DIR]
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.harness import begin, parser

NAMES = (
    "van_der_pol",
    "compiled",
    "ffjord_step",
    "tabular_step",
    "image_step",
    "odenet_step",
    "evaluations",
)
NAMES += ("memory", "runner", "sweep")


def main() -> int:
    args = begin(parser(__doc__))
    out = [] if args.out is None else ["--out", str(args.out)]
    codes = [
        subprocess.run([sys.executable, "-m", f"benchmarks.{n}", *out]).returncode for n in NAMES
    ]
    return max(map(abs, codes))


if __name__ == "__main__":
    sys.exit(main())
