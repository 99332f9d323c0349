"""The machine that a run is on."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch

PACKAGES = ("node-runner", "torch", "torchvision", "hydra-core", "omegaconf", "tensorboard")


@dataclass(frozen=True)
class Runtime:
    """Where and how exactly to compute.

    Args:
        device: auto takes the accelerator if there is one.
        threads: of the CPU; all unless given.
        deterministic: refuse operations whose result depends on the order of threads.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None
    deterministic: bool = False

    def apply(self, seed: int) -> torch.device:
        """Set threads, determinism and seeds of this process; returns the device.

        Raises:
            ValueError: if the device is not there, or threads is not positive.
        """
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"runtime.device is {self.device!r}; choose from auto, cpu, cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "runtime.device is cuda, but torch sees no CUDA device; use runtime=cpu"
            )
        if self.threads is not None:
            if self.threads < 1:
                raise ValueError(f"runtime.threads is {self.threads}, must be at least 1")
            torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.deterministic)
        torch.manual_seed(seed)
        on_gpu = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        device = torch.device("cuda" if on_gpu else "cpu")
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        return device


def environment(device: torch.device) -> dict[str, object]:
    """What a result depends on besides its configuration."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": platform.processor() or platform.machine(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "world_size": 1,
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
        "revision": revision(),
    }


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def revision() -> str | None:
    """The git revision of this code, marked where it has been changed; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
