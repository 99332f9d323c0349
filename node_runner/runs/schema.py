"""Schema of a configuration: the signature of each constructor.

Values are compared with annotations, keys with arguments. A group is a folder of configuration
files, conf/'s or the user's; whatever holds a ``_target_`` is checked. An error names the key as
it is typed: a value that is taken from elsewhere, ``${solver}``, has the key that it stands under.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, brief, first_line, unknown_name
from .annotations import conforms, describe, hints_of, locate, made_by, nearest
from .config import dotted, groups

MODES_OF_EXISTING_RUN = ("evaluate", "sample")  # modes that need run=PATH
Mode = Literal["train", "evaluate", "sample", "fetch"]
MODES: tuple[str, ...] = get_args(Mode)


class Root(TypedDict):
    """Options outside of all groups."""

    mode: Mode
    run: str | None
    resume: str | None
    trust: Sequence[str] | str | None
    accept_edits: bool
    seed: int
    tol: float
    atol_ratio: float
    eval_tol: float | None
    cell: str | None


class Paths(TypedDict):
    """Folders of data and of runs."""

    data: str
    out: str


REQUIRED = ("task", "data", "optimizer", "trainer", "runtime")  # without these there is no run
PROVIDED = {"data": ("seed", "device", "state")}  # arguments that the runner adds to a node's
# What to do where a group that others refer to is absent.
_REMEDIES = {
    "series": "this model is of series: choose a task of series, such as task=latent_spirals",
    "data": "the task takes it from its data: leave out data=, or choose that kind",
}
_SPECIAL = {  # keys of a node that configure its construction
    "_target_": (str, "the dotted name of a class or a function"),
    "_partial_": (bool, "true or false"),
    "_recursive_": (bool, "true or false"),
    "_convert_": (str, "all"),
    "_args_": (list, "a list"),
}
_LARGEST_INT, _LARGEST_FLOAT = 2**63, 3.4028235e38  # of torch's integers and of float32
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")
_OPTIONAL_REFERENCE = re.compile(r"\$\{oc\.select:([A-Za-z_]\w*(?:\.\w+)*)(?:,[^}]*)?\}")


def check(config: DictConfig) -> dict[str, Any]:
    """Check all values of a configuration, and make integers of those written as 1e5, in place.

    Returns:
        These integers, and lists of them, by key.

    Raises:
        UserError: For an unknown key, a missing value, or a value of another type.
    """
    raw: Any = OmegaConf.to_container(config, resolve=False)
    _check_references(raw)
    _check_groups(raw)
    try:
        values: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error)) from error
    seed = values["seed"]
    if isinstance(seed, (int, float)) and not 0 <= seed < 2**63:
        raise UserError(key="seed", value=seed, expected="from 0 to 2^63 - 1")
    arguments = list(_arguments_of_all(raw, values))
    for key, hint, value in arguments:
        _check_value(key, value, hint)
    _check_root(values)
    integers = {}
    for key, hint, value in arguments:
        integer = whole(value, hint)
        if integer is not value:
            integers[key] = integer
            OmegaConf.update(config, key, integer)
    return integers


def source_key(raw: Mapping[str, Any], key: str) -> str:
    """Return the key under which a value stands that others refer to.

    Args:
        raw: Configuration with its interpolations as they were written.
        key: Dotted key, which may lead through interpolations such as ``${solver}``.

    Example:
        >>> source_key({"task": {"flow": "${model}"}, "model": {"dim": 2}}, "task.flow.dim")
        'model.dim'
    """
    path = ""
    for part in key.split("."):
        path = f"{path}.{part}" if path else part
        value = _select(raw, path)
        while isinstance(value, str):
            reference = _REFERENCE.fullmatch(value) or _OPTIONAL_REFERENCE.fullmatch(value)
            if reference is None:
                break
            path = reference[1]
            value = _select(raw, path)
    return path


def whole(value: Any, hint: Any) -> Any:
    """Return a whole number written as 1e5 as an integer where the annotation wants one."""
    if isinstance(value, list):
        items = [whole(item, (get_args(hint) or (Any,))[0]) for item in value]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        return items if changed else value
    if isinstance(value, float) and value.is_integer() and not conforms(value, hint):
        return int(value) if conforms(int(value), hint) else value
    return value


def _select(raw: Any, path: str) -> Any:
    """Return the value under a dotted key; None if there is none."""
    for part in path.split("."):
        name, *indices = part.replace("]", "").split("[")
        raw = raw.get(name) if isinstance(raw, Mapping) else None
        for index in indices:
            raw = raw[int(index)] if isinstance(raw, list) and int(index) < len(raw) else None
    return raw


def _check_references(raw: Mapping[str, Any]) -> None:
    """Check that the groups exist which interpolations refer to."""
    for key, value in dotted(raw):
        for path in _REFERENCE.findall(value) if isinstance(value, str) else ():
            head, _, rest = path.partition(".")
            if rest and head in raw and not isinstance(raw[head], (Mapping, str)):
                raise UserError(key=head, value=raw[head], expected="a group of keys")
            parent = path.rpartition(".")[0]
            node = _select(raw, source_key(raw, parent)) if parent else raw
            if not isinstance(node, Mapping) or path.rpartition(".")[2] not in node:
                remedy = _REMEDIES.get(head, "choose parts that belong together")
                raise UserError(f"{key} is {value}, and there is no {path}", suggestion=remedy)


def _check_groups(raw: Mapping[str, Any]) -> None:
    """Check that each key is an option, a group, or what others refer to; and required groups."""
    options = get_type_hints(Root)
    text = [value for _, value in dotted(raw) if isinstance(value, str)]
    referred = {path.partition(".")[0] for value in text for path in _REFERENCE.findall(value)}
    allowed = {*options, "paths", *groups(), *referred}
    for key in raw:
        if key not in allowed:
            names = [name for name in [*allowed, *dict(dotted(raw))] if name != key]
            raise unknown_name(key, names)
    for key in options:
        if key not in raw:
            raise UserError(key=key, suggestion="it cannot be taken away")
    for key in REQUIRED:
        node, choose = raw.get(key), f"choose one by {key}=..."
        if node is not None and not isinstance(node, Mapping):
            raise UserError(key=key, value=node, expected="a group", suggestion=choose)
        if not node or "_target_" not in node:
            raise UserError(key=key, suggestion=choose)
    regularizers = raw.get("regularizer") or {}
    if not isinstance(regularizers, Mapping):
        raise UserError(key="regularizer", value=regularizers, expected="a group of regularizers")
    for name, node in regularizers.items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            key = f"regularizer.{name}"
            raise unknown_name(key, [f"regularizer.{n}" for n in regularizers if n != name])


def _check_root(values: Mapping[str, Any]) -> None:
    """Check the ranges of options outside of all groups."""
    for key in ("tol", "atol_ratio", "eval_tol"):
        if values[key] is not None and not values[key] > 0:
            raise UserError(key=key, value=values[key], expected="positive")
    for key, path in values["paths"].items():
        if not path.strip():
            remedy = "name a folder (. is the one you are in)"
            raise UserError(f"paths.{key} is empty", key=f"paths.{key}", suggestion=remedy)


def _arguments_of_all(raw: Any, values: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key as it is typed, annotation, value) of every option and constructor's argument."""
    yield from ((key, hint, values[key]) for key, hint in get_type_hints(Root).items())
    paths, hints = values.get("paths"), get_type_hints(Paths)
    if not isinstance(paths, Mapping):
        raise UserError(key="paths", value=paths, expected=f"a group of keys: {', '.join(hints)}")
    for key in paths:
        if key not in hints:
            raise unknown_name(f"paths.{key}", [f"paths.{name}" for name in hints])
    yield from ((f"paths.{key}", hint, paths.get(key)) for key, hint in hints.items())
    for key, node in values.items():
        yield from _arguments(key, raw, raw[key], node)


def _arguments(path: str, raw: Any, written: Any, node: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the arguments of a node and of those in it. A node that is taken from elsewhere is
    checked there.

    Args:
        path: Key of the node.
        raw: Whole configuration, with its interpolations.
        written: The node with its interpolations.
        node: The node.
    """
    if isinstance(written, str):
        return
    if isinstance(node, list):
        for i, (part, value) in enumerate(zip(written, node, strict=True)):
            yield from _arguments(f"{path}[{i}]", raw, part, value)
    if not isinstance(node, Mapping):
        return
    for key, (kind, expected) in _SPECIAL.items():
        if key in node and not isinstance(node[key], kind):
            raise UserError(key=f"{path}.{key}", value=node[key], expected=expected)
    if "_target_" in node:
        yield from _signature(path, raw, node, node["_target_"])
    for key, value in node.items():
        yield from _arguments(f"{path}.{key}", raw, written[key], value)


def _signature(
    path: str, raw: Any, node: Mapping[str, Any], target: str
) -> Iterator[tuple[str, Any, Any]]:
    """Yield the arguments of a node with the annotations of its constructor.

    Raises:
        UserError: For an unknown or a missing argument.
    """
    try:
        constructor = locate(target)
        parameters = inspect.signature(constructor).parameters
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}._target_ is {target!r}: {first_line(error)}") from error
    hints, provided = hints_of(constructor), PROVIDED.get(path, ())
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    given = sorted(key for key in node if not (key.startswith("_") and key.endswith("_")))
    for key in given:
        if key in provided or (key not in parameters and not takes_any):
            names = [f"{path}.{name}" for name in parameters if name not in provided]
            raise unknown_name(f"{path}.{key}", names)
        yield source_key(raw, f"{path}.{key}"), hints.get(key, Any), node[key]
    if node.get("_partial_"):
        return
    for name, parameter in parameters.items():
        optional = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if not (optional or name in node or name in provided):
            raise UserError(key=f"{path}.{name}", suggestion=f"{target} needs it")


def _check_value(key: str, value: object, hint: Any) -> None:
    """Check a value against an annotation."""
    if value == "???":  # in conf/, of what only the user or a task knows
        raise UserError(key=key, suggestion=f"give it, {describe(hint)}: {key}=...")
    _check_number(key, value)
    if not conforms(whole(value, hint), hint):
        made = made_by(value)
        seen = brief(value) if made is None else f"a {made.__name__}"
        raise UserError(
            f"{key} is {seen}, must be {describe(hint)}",
            key=key,
            value=value,
            expected=describe(hint),
            suggestion=nearest(value, hint),
        )


def _check_number(key: str, value: object) -> None:
    """Check that numbers, in lists too, are finite and within the range of what computes."""
    if isinstance(value, list):
        for item in value:
            _check_number(key, item)
    elif isinstance(value, float) and not abs(value) <= _LARGEST_FLOAT:
        expected = f"a number within float32, to {_LARGEST_FLOAT:g}"
        raise UserError(key=key, value=value, expected=expected)
    elif isinstance(value, int) and not abs(value) < _LARGEST_INT:
        raise UserError(key=key, value=value, expected="from -2^63 to 2^63 - 1")
