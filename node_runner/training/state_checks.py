"""Checks of the parts of a checkpoint, before any of them is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import LBFGS, Adafactor, Optimizer

from .checkpoint import CheckpointError, check_tensor

__all__ = ["check_optimizer", "check_parts"]

_NUMBER = int | float
_PARTS = {
    "task": Mapping,
    "optimizer": Mapping,
    "ema": Mapping | None,
    "progress": Mapping,
    "means": Mapping,
    "random": Mapping,
}
_WITHIN: dict[str, dict[str, Any]] = {
    "progress": {
        "step": int,
        "seconds": _NUMBER,
        "means": Mapping,
        "best": _NUMBER,
        "best_step": int | None,
        "waited": int,
        "drops": int,
    },
    "means": {"tensors": Mapping, "numbers": Mapping, "count": int},
}
_OTHER_SHAPES = (LBFGS, Adafactor)  # whose state is not of the shape of its parameter


def check_parts(
    state: Mapping[str, Any], source: str, parts: tuple[str, ...] = tuple(_PARTS)
) -> None:
    """Check that a state has its parts, and that they are of their types.

    Raises:
        CheckpointError: naming the first that is missing or of another type.
    """
    for part in parts:
        _check_type(state, part, _PARTS[part], source)
        for name, kind in _WITHIN.get(part, {}).items():
            _check_type(state[part], name, kind, f"{source}, {part}")
    means = state["means"]["tensors"] if "means" in parts else {}
    for name, value in means.items():
        if not isinstance(value, Tensor) or value.dim() != 0:
            raise CheckpointError(f"{source}: the mean of {name} is not a number")


def _check_type(node: Mapping[str, Any], name: str, kind: Any, source: str) -> None:
    if name not in node:
        raise CheckpointError(f"{source} has no {name}: a part of the checkpoint is missing")
    value = node[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CheckpointError(f"{source}: {name} is a {type(value).__name__}, which it cannot be")
    if isinstance(value, int) and value < 0:
        raise CheckpointError(f"{source}: {name} is {value}, which it cannot be")


def check_optimizer(
    optimizer: Optimizer, found: Mapping[str, Any], begun: bool, source: str
) -> None:
    """Check that a state is one of this optimizer: its groups and options, and tensors of the
    shapes of the parameters that they belong to.

    Args:
        begun: Whether it has done a step.

    Raises:
        CheckpointError: naming what differs.
    """
    _check_type(found, "param_groups", list, source)
    _check_type(found, "state", Mapping, source)
    own = optimizer.state_dict()["param_groups"]
    if len(own) != len(found["param_groups"]):
        raise CheckpointError(f"{source} has {len(found['param_groups'])} groups, not {len(own)}")
    for here, there in zip(own, found["param_groups"], strict=True):
        if not isinstance(there, Mapping) or there.get("params") != here["params"]:
            raise CheckpointError(f"{source} is of other parameters")
        _check_options({**here, **({"initial_lr": 0.0} if begun else {})}, there, source)
    numbers = [number for group in own for number in group["params"]]
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    alike = not isinstance(optimizer, _OTHER_SHAPES)
    _check_state(found["state"], dict(zip(numbers, tensors, strict=True)), alike, source)


def _check_options(here: Mapping[str, Any], there: Mapping[str, Any], source: str) -> None:
    """Numbers, alone or in tuples. (A switch may be missing: one that a later torch has added.)"""
    for name, value in here.items():
        if isinstance(value, _NUMBER) and not isinstance(value, bool):
            _check_type(there, name, _NUMBER, source)
        elif isinstance(value, tuple):
            _check_type(there, name, tuple | list, source)
            if len(there[name]) != len(value):
                raise CheckpointError(f"{source}: {name} has {len(there[name])} entries")
            for index, entry in enumerate(there[name]):
                _check_type({name: entry}, name, _NUMBER, f"{source}, {index}")


def _check_state(
    state: Mapping[Any, Any], params: Mapping[Any, Tensor], alike: bool, source: str
) -> None:
    for number, entries in state.items():
        if number not in params or not isinstance(entries, Mapping):
            raise CheckpointError(f"{source} has a state of {number}, which is not a parameter")
        for name, value in entries.items() if alike else ():
            plain = isinstance(value, _NUMBER | None)
            if not plain and not (isinstance(value, Tensor) and value.dim() == 0):
                check_tensor(params[number], value, f"{source}: {name} of parameter {number}")
    names = {frozenset(entries) for entries in state.values()}
    if alike and len(names) > 1:
        missing = sorted(frozenset.union(*names) - frozenset.intersection(*names))
        raise CheckpointError(f"{source} has {', '.join(missing)} of some parameters only")
