"""Profiler of a few training steps."""

from __future__ import annotations

from pathlib import Path

from torch.profiler import (
    ProfilerActivity,
    profile,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

WAIT, WARM_UP, STEPS = 2, 2, 4


def profiler(folder: Path) -> profile:
    """Trace steps 5 to 8 into ``folder`` as ``*.pt.trace.json``: operations, shapes and memory,
    for TensorBoard's profiler, Perfetto or chrome://tracing.
    """
    kinds = {ProfilerActivity.CPU, ProfilerActivity.CUDA} & supported_activities()
    return profile(
        activities=kinds,
        schedule=schedule(wait=WAIT, warmup=WARM_UP, active=STEPS, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(folder)),
        record_shapes=True,
        profile_memory=True,
    )
