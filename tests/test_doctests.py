"""Examples in docstrings: each gives what it says."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import node_runner

ROOT = Path(node_runner.__file__).parent
FILES = [file for file in sorted(ROOT.rglob("*.py")) if ">>>" in file.read_text()]
MODULES = [".".join(("node_runner", *f.relative_to(ROOT).with_suffix("").parts)) for f in FILES]


@pytest.mark.parametrize("name", [name.removesuffix(".__init__") for name in MODULES])
def test_the_examples_of_a_module_give_what_they_say(name):
    failed, tried = doctest.testmod(import_module(name))
    assert tried and not failed
