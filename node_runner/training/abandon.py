"""Abandoned training steps and validations, which a resumed run repeats."""

from __future__ import annotations

import random

import numpy
import torch
from torch import nn

__all__ = ["Abandoned", "StepStart"]


class Abandoned(KeyboardInterrupt):
    """A signal arrived within a long training step or validation."""


class StepStart:
    """Buffers and random states before a step: what a forward and backward pass change."""

    def __init__(self, task: nn.Module) -> None:
        self.buffers = [(buffer, buffer.clone()) for buffer in task.buffers()]
        self.torch, self.numpy = torch.get_rng_state(), numpy.random.get_state()
        self.python = random.getstate()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore(self) -> None:
        """Restore all of it."""
        with torch.no_grad():
            for buffer, before in self.buffers:
                buffer.copy_(before)
        torch.set_rng_state(self.torch)
        numpy.random.set_state(self.numpy)
        random.setstate(self.python)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
