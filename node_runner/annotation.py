"""Whether a value of a configuration fits an annotation, and how to say so."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin

from hydra.utils import get_object


def conforms(value: object, hint: Any) -> bool:
    """Whether a value of a configuration fits an annotation; one that no YAML can hold fits all."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(conforms(value, option) for option in args)
    if origin is Literal:
        return value in args
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    if origin in (list, tuple, Sequence) or getattr(origin, "__name__", "") == "Sequence":
        return isinstance(value, (list, tuple)) and all(
            conforms(item, args[0] if args else Any) for item in value
        )
    if hint is dict or origin in (dict, Mapping):
        return isinstance(value, Mapping)
    if inspect.isclass(hint):  # an object, which a node with a _target_ stands for
        if value is None or isinstance(value, (int, float, bool, str)):
            return False
        made = made_by(value)
        is_protocol = getattr(hint, "_is_protocol", False)
        return made is None or is_protocol or issubclass(made, hint)
    return True


def made_by(node: object) -> type | None:
    """The class whose instance a node stands for; None where that cannot be told."""
    if not isinstance(node, Mapping) or "_target_" not in node or node.get("_partial_"):
        return None
    try:
        found = get_object(node["_target_"])
    except (ImportError, ValueError, TypeError):  # said where the node itself is checked
        return None
    return found if inspect.isclass(found) else None


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in args)
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    names = {float: "a number", int: "an integer", bool: "true or false", str: "a word"}
    if hint is type(None):
        return "null"
    if args:
        return f"a list, each {describe(args[0])}" if origin is not dict else "a group of keys"
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")


def nearest(value: object, hint: Any) -> str:
    """A suggestion for a misspelt choice."""
    hints = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    options = [str(o) for h in hints if get_origin(h) is Literal for o in get_args(h)]
    near = get_close_matches(str(value), options, n=1)
    return f"; did you mean {near[0]}?" if near else ""
