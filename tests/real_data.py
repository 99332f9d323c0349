"""Where real data lie, and what to skip where they are absent."""

import os
from pathlib import Path

import pytest

from node_runner.data.mnist import FILES

ROOT = Path(os.environ.get("NODE_RUNNER_DATA", "data"))
needs_mnist = pytest.mark.skipif(
    not all(
        any((ROOT / "MNIST" / "raw" / (name + end)).exists() for end in ("", ".gz"))
        for name in FILES
    ),
    reason="no MNIST/raw, or not all of it, under NODE_RUNNER_DATA or ./data",
)
needs_physionet = pytest.mark.skipif(
    not (ROOT / "physionet" / "PhysioNet" / "raw" / "set-a.tar.gz").exists(),
    reason="no physionet/PhysioNet/raw under NODE_RUNNER_DATA or ./data",
)
needs_activity = pytest.mark.skipif(
    not (ROOT / "PersonActivity" / "PersonActivity" / "raw" / "ConfLongDemo_JSI.txt").exists(),
    reason="no PersonActivity/PersonActivity/raw under NODE_RUNNER_DATA or ./data",
)
