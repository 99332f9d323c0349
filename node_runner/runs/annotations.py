"""Annotations as types of configuration values: conformity and description in words."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict


def conforms(value: object, hint: Any) -> bool:
    """Return whether a value of a configuration fits an annotation.

    Every value fits an annotation that no YAML value can stand for.
    """
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
    if is_typeddict(hint):
        hints = get_type_hints(hint)
        return isinstance(value, Mapping) and all(
            key in value and conforms(value[key], hints[key]) for key in hint.__required_keys__
        )
    if hint is dict or origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            conforms(item, args[1] if args else Any) for item in value.values()
        )
    if Callable in (hint, origin):
        return isinstance(value, Mapping) and "_target_" in value
    if inspect.isclass(hint):  # an object, which a node with a _target_ stands for
        return isinstance(value, Mapping) and _conforms_to_class(value, hint)
    return True


def _conforms_to_class(node: Mapping[str, Any], hint: type) -> bool:
    """Return whether the object of a node is an instance of a class, or has the methods of a
    protocol, as far as its annotations say.
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
    """Return the names of a protocol's public methods, and ``__call__``."""
    parts = [part for part in protocol.__mro__ if getattr(part, "_is_protocol", False)]
    names = {name for part in parts for name, value in vars(part).items() if callable(value)}
    return sorted(name for name in names if name == "__call__" or not name.startswith("_"))


def made_by(node: object) -> type | None:
    """Return the class whose instance a node makes; None where annotations do not say it."""
    if not isinstance(node, Mapping) or "_target_" not in node or node.get("_partial_"):
        return None
    try:
        maker = locate(node["_target_"])
    except ValueError:  # said where the node itself is checked
        return None
    made = maker if inspect.isclass(maker) else hints_of(maker).get("return")
    return made if inspect.isclass(made) else None


def hints_of(constructor: Any) -> dict[str, Any]:
    """Return the annotations of a constructor's arguments, where they can be read."""
    function = constructor.__init__ if inspect.isclass(constructor) else constructor
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def locate(name: str) -> Any:
    """Return the class or function of a dotted name, such as ``torch.nn.Tanh``.

    Raises:
        ValueError: if there is none: no such module or attribute, a module, a value, or a function
            in C, which has no signature to check.
    """
    try:
        target = resolve_name(name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ValueError(f"{type(error).__name__}: {str(error).strip()}") from error
    if not callable(target) or inspect.isbuiltin(target):
        raise ValueError("this is not a class, nor a function written in Python")
    return target


def describe(hint: Any) -> str:
    """Return an annotation in words."""
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
    """Return a suggestion for a misspelt choice; empty if there is none."""
    hints = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    options = [str(o) for h in hints if get_origin(h) is Literal for o in get_args(h)]
    near = get_close_matches(str(value), options, n=1)
    return f"did you mean {near[0]}?" if near else ""
