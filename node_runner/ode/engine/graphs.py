"""Compiled graphs, one for each f and plan, and what is said where there can be none.

torch.compile looks at f again at each call (same code, shapes and constants; the tensors that f
closes over are inputs of the graph), so that a closure made anew each training step is no new f. A
graph has a code object of its own: torch counts recompilations by it, and gives up after
``torch._dynamo.config.recompile_limit`` of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import cache, partial
from types import CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

import torch

LIMIT = 32  # graphs of one f: methods, shapes, with and without gradient
log = logging.getLogger(__name__)
told: set[str] = set()


class Graph:
    """``function(f, *arguments)``, compiled at its first call; None where that is not possible."""

    def __init__(self, function: Callable, **options: object) -> None:
        own = FunctionType(
            function.__code__.replace(),
            function.__globals__,
            function.__name__,
            None,
            function.__closure__,
        )
        self.compiled = torch.compile(own, fullgraph=True, dynamic=False, options=options)
        self.broken = False

    def __call__(self, f: Callable, *arguments: object) -> Any | None:
        if self.broken:
            return None
        try:
            return self.compiled(f, *arguments)
        except Exception as error:
            # f may do anything. A mistake of its own shows again when it is run eagerly.
            self.broken = True
            tell(f"{name_of(f)} cannot be compiled: {reason(error)}")
            return None


graphs: WeakKeyDictionary[Any, dict[Hashable, Graph]] = WeakKeyDictionary()


def find(
    f: Callable, key: Hashable, make: Callable[[], Callable], **options: object
) -> Graph | None:
    """The graph of ``make()`` for f, made at first with torch.compile's ``options``; None where
    nothing can be compiled.
    """
    if (missing := no_compiler()) is not None:
        tell(missing)
        return None
    found = graphs.setdefault(identity(f), {})
    key = key, torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    if key not in found:
        if len(found) == LIMIT:
            tell(f"{name_of(f)} has {LIMIT} compiled graphs of other shapes or methods already")
            return None
        found[key] = Graph(make(), **options)
    return found[key]


def identity(f: Callable) -> Any:
    """What stays the same where f is made anew with other values: a function's code. Anything else
    is itself.
    """
    if isinstance(f, partial):
        return identity(f.func)
    if isinstance(f, MethodType):
        return identity(f.__func__)
    if isinstance(f, FunctionType):
        return f.__code__
    try:
        hash(f)
        WeakKeyDictionary()[f] = None
    except TypeError:
        return type(f)
    return f


def name_of(f: Callable) -> str:
    code = identity(f)
    if isinstance(code, CodeType):
        return f"f ({f.__qualname__ if isinstance(f, FunctionType) else code.co_name})"
    return f"f ({type(f).__name__})"


def reason(error: Exception) -> str:
    """The first lines of torch's message, without its advice on debugging."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:300]


def tell(cause: str) -> None:
    """Once a cause."""
    if cause not in told:
        told.add(cause)
        log.warning("solver.engine=compiled falls back to eager: %s", cause)


@cache
def no_compiler() -> str | None:
    """Why nothing can be compiled here, if so."""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    except ImportError:  # another torch has it elsewhere: then the first graph will tell
        return None
    except Exception as error:
        return f"no C++ compiler was found ({type(error).__name__}); install g++ or set CXX"
    return None
