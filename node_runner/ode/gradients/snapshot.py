"""The tensors that f holds, as they were during the solve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType, MethodType

from torch import Tensor, nn

Place = tuple[
    MutableMapping | CellType, str
]  # an entry of a dict, or the content of a closure's cell
DEPTH = 3  # functions and objects from f to a module


class TensorSnapshot:
    """Which tensors f holds: parameters, buffers and other attributes of its modules, its own
    attributes, and the variables that it closes over.

    A backward pass evaluates f again, when ``functional_call`` has taken its tensors out again or
    another context has been set. ``restored`` puts back those that were there.
    """

    def __init__(self, f: Callable) -> None:
        self.held = [
            (holder, key, value)
            for holder in _holders(f)
            for key, value in _items(holder)
            if isinstance(value, Tensor)
        ]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """f with the tensors of the snapshot; those that it has now come back at the end."""
        changed = [
            (holder, key, value, now)
            for holder, key, value in self.held
            if (now := _get(holder, key)) is not value
        ]
        try:
            for holder, key, value, _ in changed:
                _set(holder, key, value)
            yield
        finally:
            for holder, key, _, now in changed:
                _set(holder, key, now)


def _holders(f: Callable) -> Iterator[MutableMapping | CellType]:
    """Where f finds its tensors."""
    pending, seen = [(f, 0)], set()
    while pending:
        thing, depth = pending.pop()
        if id(thing) in seen or depth > DEPTH:
            continue
        seen.add(id(thing))
        if isinstance(thing, nn.Module):
            for module in thing.modules():
                if module is thing or id(module) not in seen:
                    seen.add(id(module))
                    yield from (module._parameters, module._buffers, vars(module))
            continue
        if isinstance(thing, FunctionType):
            cells = [cell for cell in thing.__closure__ or () if _get(cell, "") is not None]
            yield from cells
            behind = [cell.cell_contents for cell in cells]
            names = {name: thing.__globals__.get(name) for name in thing.__code__.co_names}
            behind += [value for value in names.values() if isinstance(value, nn.Module)]
        elif isinstance(thing, MethodType):
            behind = [thing.__self__, thing.__func__]
        elif isinstance(thing, partial):
            behind = [thing.func, *thing.args, *thing.keywords.values()]
        else:
            yield vars(thing)
            behind = list(vars(thing).values())
        pending += [(value, depth + 1) for value in behind if _may_hold(value)]


def _may_hold(value: object) -> bool:
    return callable(value) and hasattr(value, "__dict__") and not isinstance(value, type)


def _items(holder: MutableMapping | CellType) -> Iterator[tuple[str, object]]:
    if isinstance(holder, CellType):
        yield "", holder.cell_contents
    else:
        yield from holder.items()


def _get(holder: MutableMapping | CellType, key: str) -> object | None:
    if not isinstance(holder, CellType):
        return holder.get(key)
    try:
        return holder.cell_contents
    except ValueError:  # empty
        return None


def _set(holder: MutableMapping | CellType, key: str, value: object) -> None:
    if isinstance(holder, CellType):
        holder.cell_contents = value
    else:
        holder[key] = value
