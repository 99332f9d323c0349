"""Device, precision, threads and seeds of the process."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MethodType
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

from .memory import reset_peak
from .randomness import seed_all

__all__ = ["Environment", "Runtime", "environment"]

log = logging.getLogger(__name__)

THREADS = torch.get_num_threads()  # of the process as it started
CORES = os.cpu_count() or 1
MAX_THREADS = max(64, 4 * CORES)  # a run made on a larger machine can be resumed
PACKAGES = ("node-runner", "torch", "torchvision", "hydra-core", "omegaconf", "tensorboard")


@dataclass(frozen=True)
class Runtime:
    """Device and precision of a computation.

    Args:
        device: "auto" is the accelerator if there is one.
        threads: Number of CPU threads (default: all).
        deterministic: Refuse operations whose result depends on the order of threads.
        tf32: Let matrix products and convolutions of a GPU round to TF32 (10 bits of mantissa).
        amp: Evaluate fields in bfloat16; the state, its error and the loss stay in float32.
        compile: Compile fields with torch.compile.
        profile: Trace a few training steps into the run's ``tb/``.

    Example:
        >>> Runtime(device="cpu").apply(seed=0)
        device(type='cpu')
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = None
    deterministic: bool = False
    tf32: bool = False
    amp: bool = False
    compile: bool = False
    profile: bool = False

    def apply(self, seed: int) -> torch.device:
        """Set threads, precision, determinism and seeds of this process; return the device.

        Raises:
            ValueError: if the device is not there, or threads is out of range.
        """
        if self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device is {self.device!r}; choose from auto, cpu, cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device is cuda, but torch sees no CUDA device; use runtime=cpu")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}, must be at least 1")
        if self.threads is not None and self.threads > MAX_THREADS:
            raise ValueError(
                f"threads is {self.threads}, must be from 1 to {MAX_THREADS}; this machine "
                f"has {CORES} cores"
            )
        torch.set_num_threads(self.threads or THREADS)  # an earlier job of a sweep had its own
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(self.deterministic)
        # One kind of switch only: reading these after the newer fp32_precision is an error.
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self.tf32  # on in torch unless told
        seed_all(seed)
        on_gpu = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        device = torch.device("cuda" if on_gpu else "cpu")
        reset_peak(device)
        return device

    def prepare(self, field: nn.Module) -> None:
        """Let a field f(t, x) run in bfloat16 or compiled, in place, if so configured. The names of
        its parameters stay as they are.
        """
        if self.amp:
            # A bound method, so that a copy of the field calls the copy.
            field.forward = MethodType(_forward_in_bfloat16, field)
            log.warning(
                "amp: bfloat16 keeps 8 bits, so a solver at a tolerance below 1e-2 meets "
                "rounding and takes more steps; compare nfe/forward with a run without it"
            )
        if self.compile:
            field.compile()


def _forward_in_bfloat16(self: nn.Module, t: Tensor, x: Tensor) -> Tensor:
    """A field's forward under autocast, its result in the type of the state."""
    with torch.autocast(x.device.type, torch.bfloat16):
        dx = type(self).forward(self, t, x)
    return dx.to(x.dtype)


class Environment(TypedDict):
    """Device, platform and versions of a process."""

    device: str
    processor: str
    platform: str
    python: str
    threads: int
    world_size: int
    versions: dict[str, str]
    revision: str | None


def environment(device: torch.device) -> Environment:
    """Return what a result depends on besides its configuration: device, platform and versions."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processor": platform.processor() or platform.machine(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "world_size": 1,
        "versions": {name: found for name in PACKAGES if (found := _installed(name))},
        "revision": _revision(),
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Return the git revision of this code, marked if modified; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
