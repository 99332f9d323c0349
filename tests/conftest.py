"""Fixtures for all tests: everything random is seeded, everything drawn is float64."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start, before torch

import pytest  # noqa: E402
import torch  # noqa: E402
from fast_selection import is_slow  # noqa: E402

torch.set_num_threads(1)  # the tensors of tests are small: more threads would only wait


@pytest.fixture(autouse=True)
def seeded():
    """Each test starts from the same global seed, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """The folder of a small run of the default task, to be copied before it is changed."""
    from forked import node_run
    from test_cli import SMALL

    folder = tmp_path_factory.mktemp("small")
    done = node_run(folder, *SMALL)
    assert done.returncode == 0, done.stderr
    (file,) = folder.rglob("command.yaml")
    return file.parent


@pytest.fixture
def draw():
    """Standard normals of the given shape from a generator of the test's own."""
    generator = torch.Generator().manual_seed(1)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def pytest_collection_modifyitems(items):
    """Mark slow tests. Tests that fork come first: a process whose autograd has started threads
    cannot be forked.
    """
    for item in items:
        if is_slow(item.path.stem, item.name):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not hasattr(item.module, "node_run"))
