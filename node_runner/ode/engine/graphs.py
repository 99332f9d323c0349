"""Compiled graphs, one for each f and specification, and the warnings of fallbacks.

torch.compile looks at f again at each call (same code, shapes and constants; the tensors that f
closes over are inputs of the graph), so that a closure made anew each training step is no new f. A
graph has a code object of its own: torch counts recompilations by it, and gives up after
``torch._dynamo.config.recompile_limit`` of them.

A Python number that f reads is a constant of the graph. One that changes, such as a count of calls
or an annealed coefficient, would have every solve compiled anew: f runs eagerly from then on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Hashable
from functools import cache, partial
from types import CodeType, FunctionType, MethodType
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch.fx import GraphModule

LIMIT = 32  # graphs of one f: methods, shapes, with and without gradient
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d*)?(?:e[+-]?\d+)?(?!\w)")
log = logging.getLogger(__name__)
_warned: set[str] = set()


class ChangingNumber(Exception):
    """A graph is wanted again with nothing but other Python numbers."""


def inductor(graph: GraphModule, inputs: list, options: dict) -> Callable:
    """Compile by torch's default backend."""
    from torch._inductor.compile_fx import compile_fx

    compiled: Any = compile_fx(graph, inputs, config_patches=options)
    return compiled


class Backend:
    """Inductor, called once for each graph.

    torch.compile traces f again where any Python value that f reads has changed. If the trace is
    the one before, what was compiled serves again, but once: a switch from training to evaluation
    does that, and so does each step where f counts its calls. If it differs in numbers alone, each
    further number would be compiled as well.

    Raises:
        ChangingNumber: for a graph known but for its numbers, or seen for the third time.
    """

    def __init__(self, options: dict) -> None:
        self.options = options
        self.compiled: dict[Hashable, Callable] = {}
        self.numbers: dict[Hashable, list[str]] = {}
        self.repeated: set[Hashable] = set()

    def __call__(self, graph: GraphModule, inputs: list) -> Callable:
        key, numbers = signature(graph, inputs)
        if key not in self.compiled:
            self.compiled[key] = inductor(graph, inputs, self.options)
            self.numbers[key] = numbers
        elif numbers != self.numbers[key]:
            pairs = zip(self.numbers[key], numbers, strict=True)
            before, after = next(pair for pair in pairs if pair[0] != pair[1])
            raise ChangingNumber(f"{before} is {after} now")
        elif key in self.repeated:
            raise ChangingNumber("a count of calls, for example")
        else:
            self.repeated.add(key)
        return self.compiled[key]


def signature(graph: GraphModule, inputs: list) -> tuple[Hashable, list[str]]:
    """Code and inputs of a graph without the numbers in it, and these."""
    code = [part.code for part in graph.modules() if isinstance(part, GraphModule)]
    constants = tuple(map(id, (*graph.parameters(), *graph.buffers())))
    described = tuple(
        (*x.shape, *x.stride(), x.dtype, x.device, x.requires_grad)
        if isinstance(x, torch.Tensor)
        else type(x)
        for x in inputs
    )
    return (*(NUMBER.sub("#", part) for part in code), constants, described), [
        number for part in code for number in NUMBER.findall(part)
    ]


class Graphs(dict):
    """The graphs of one f, by what they are made for.

    Attributes:
        changing: f reads a Python number that changes, so that none of them serves.
    """

    changing = False


class Graph:
    """``function(f, *arguments)``, compiled at its first call; None where that is not possible."""

    def __init__(self, function: Callable, family: Graphs, **options: object) -> None:
        own = FunctionType(
            function.__code__.replace(),
            function.__globals__,
            function.__name__,
            None,
            function.__closure__,
        )
        backend = Backend(options)
        self.compiled = torch.compile(own, fullgraph=True, dynamic=False, backend=backend)
        self.family, self.broken = family, False

    def __call__(self, f: Callable, *arguments: object) -> Any | None:
        if self.broken or self.family.changing:
            return None
        try:
            return self.compiled(f, *arguments)
        except Exception as error:
            # f may do anything. A mistake of its own shows again when it is run eagerly.
            self.broken = True
            number = changing_number(error)
            self.family.changing = number is not None
            warn_once(f"{name_of(f)} cannot be compiled: {number or reason(error)}")
            return None


graphs: WeakKeyDictionary[Any, Graphs] = WeakKeyDictionary()


def find(
    f: Callable, key: Hashable, make: Callable[[], Callable], **options: object
) -> Graph | None:
    """The graph of ``make()`` for f, made at first with torch.compile's ``options``; None where
    nothing can be compiled.
    """
    if (missing := no_compiler()) is not None:
        warn_once(missing)
        return None
    found = graphs.setdefault(identity(f), Graphs())
    if found.changing:
        return None
    key = key, torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    if key not in found:
        if len(found) == LIMIT:
            warn_once(
                f"{name_of(f)} has {LIMIT} compiled graphs of other shapes or methods already"
            )
            return None
        found[key] = Graph(make(), found, **options)
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
        ref(f)
    except TypeError:
        return type(f)
    return f


def name_of(f: Callable) -> str:
    code = identity(f)
    if isinstance(code, CodeType):
        return f"f ({f.__qualname__ if isinstance(f, FunctionType) else code.co_name})"
    return f"f ({type(f).__name__})"


def changing_number(error: BaseException | None) -> str | None:
    """What to say of a ``ChangingNumber`` among the causes of ``error``; None without one."""
    while error is not None and not isinstance(error, ChangingNumber):
        error = error.__cause__ or getattr(error, "inner_exception", None)
    if error is None:
        return None
    return (
        f"it reads a Python number that changes ({error}), and each value would be compiled anew; "
        "a tensor, such as a buffer of a module, may change freely, and evaluations are counted "
        "in Solution.stats"
    )


def reason(error: Exception) -> str:
    """The first lines of torch's message, without its advice on debugging."""
    if type(error).__name__ == "FailOnRecompileLimitHit":
        return "it was compiled too often, for other shapes or types of what it closes over"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:300]


def warn_once(cause: str) -> None:
    """NotDifferentiable a cause."""
    if cause not in _warned:
        _warned.add(cause)
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
