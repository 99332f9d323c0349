"""Fixtures for all tests: everything random is seeded, everything drawn is float64."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)  # the tensors of tests are small: more threads would only wait


@pytest.fixture(autouse=True)
def seeded():
    """Each test starts from the same global seed, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture
def draw():
    """Standard normals of the given shape from a generator of the test's own."""
    generator = torch.Generator().manual_seed(1)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
