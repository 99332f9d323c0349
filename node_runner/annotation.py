"""Whether a value of a configuration fits an annotation, and how to say so."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def conforms(value: object, hint: Any) -> bool:
    """Whether a value of a configuration fits an annotation; one that no YAML can hold fits all."""
    if hint is Any:
        return True
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
    if Callable in (hint, origin):
        return isinstance(value, Mapping) and "_target_" in value
    if inspect.isclass(hint):  # an object, which a node with a _target_ stands for
        return isinstance(value, Mapping) and conforms_to_class(value, hint)
    return True


def conforms_to_class(node: Mapping[str, Any], hint: type) -> bool:
    """Whether what a node stands for is an instance of a class, or has the methods of a protocol,
    as far as that can be told.
    """
    if "_target_" in node and node.get("_partial_"):
        return False
    made = made_by(node)
    if made is None:
        return "_target_" in node
    if getattr(hint, "_is_protocol", False):
        return all(hasattr(made, name) for name in methods(hint))
    return issubclass(made, hint)


def methods(protocol: type) -> list[str]:
    """The public methods that a protocol asks for, and ``__call__``."""
    parts = [part for part in protocol.__mro__ if getattr(part, "_is_protocol", False)]
    names = {name for part in parts for name, value in vars(part).items() if callable(value)}
    return sorted(name for name in names if name == "__call__" or not name.startswith("_"))


def made_by(node: object) -> type | None:
    """The class whose instance a node stands for; None where that cannot be told."""
    if not isinstance(node, Mapping) or "_target_" not in node or node.get("_partial_"):
        return None
    try:
        found = locate(node["_target_"])
    except ValueError:  # said where the node itself is checked
        return None
    made = found if inspect.isclass(found) else hints_of(found).get("return")
    return made if inspect.isclass(made) else None


def hints_of(constructor: Any) -> dict[str, Any]:
    """Annotations of the arguments, where they can be read."""
    function = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def locate(name: str) -> Any:
    """The class or function of a dotted name, such as ``torch.nn.Tanh``.

    Raises:
        ValueError: if there is none: no such module or attribute, a module, a value, or a function
            in C, which has no signature to check.
    """
    try:
        found = resolve_name(name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ValueError(f"{type(error).__name__}: {str(error).strip()}") from error
    if not callable(found) or inspect.isbuiltin(found):
        raise ValueError("this is not a class, nor a function written in Python")
    return found


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
    if Callable in (hint, origin):
        return "a node whose _target_ is a function"
    if args:
        return f"a list, each {describe(args[0])}" if origin is not dict else "a group of keys"
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")


def nearest(value: object, hint: Any) -> str:
    """A suggestion for a misspelt choice."""
    hints = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    options = [str(o) for h in hints if get_origin(h) is Literal for o in get_args(h)]
    near = get_close_matches(str(value), options, n=1)
    return f"; did you mean {near[0]}?" if near else ""
