"""A training step or a validation that is given up half way, to be done again."""

from __future__ import annotations

import random

import numpy
import torch
from torch import nn


class Abandoned(KeyboardInterrupt):
    """A signal has come within a training step, or a validation, that takes long."""


class StepStart:
    """What a forward and backward pass change, as it is before: buffers and random numbers."""

    def __init__(self, task: nn.Module) -> None:
        self.buffers = [(buffer, buffer.clone()) for buffer in task.buffers()]
        self.torch, self.numpy = torch.get_rng_state(), numpy.random.get_state()
        self.python = random.getstate()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    def restore(self) -> None:
        """Put all of it back."""
        with torch.no_grad():
            for buffer, before in self.buffers:
                buffer.copy_(before)
        torch.set_rng_state(self.torch)
        numpy.random.set_state(self.numpy)
        random.setstate(self.python)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
