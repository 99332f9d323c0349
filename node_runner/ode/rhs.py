"""The right-hand side f(t, y), evaluated in the same circumstances wherever a solver calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .gradients.captured_tensors import CapturedTensors

State = Tensor | tuple[Tensor, ...]


class Rhs:
    """f as a function of (t, y), with what one solve must know about it.

    A solver evaluates f with and without a graph, and again on the way back, when the caller's
    contexts are gone. So each evaluation runs under the autocast state that held when the problem
    was posed, and an f that takes a gradient in y itself (an energy, a Hamiltonian) is given a y
    that requires one even where the solver needs no graph.

    Args:
        f: (t, y) -> dy.
        device: Device of the state.

    Attributes:
        time: The t of the last evaluation, which f may have marked by ``requires_grad_``.
        takes_gradient: Whether f has failed for want of a y that requires a gradient.
        captured: Tensors that f uses, where a gradient strategy has looked for them.
    """

    def __init__(self, f: Callable, device: torch.device) -> None:
        self.f = f
        self.time: Tensor | None = None
        self.takes_gradient = False
        self.captured: CapturedTensors | None = None
        self.device_types = _device_types(device)
        self.autocast = _autocast_settings(self.device_types)

    def __call__(self, t: Tensor, y: State) -> object:
        """f(t, y), without graph where gradients are disabled."""
        self.time = t
        try:
            with _autocast(self.autocast):
                return _with_graph(self.f, t, y) if self.takes_gradient else self.f(t, y)
        except RuntimeError as error:
            return self.again(error, t, y)

    def again(self, error: RuntimeError, t: Tensor, y: State) -> object:
        """f(t, y) after a call that has failed, with a y that requires a gradient.

        Raises:
            RuntimeError: the same, where it has failed for another reason.
        """
        if self.takes_gradient or "does not require grad" not in str(error):
            raise error
        with _autocast(self.autocast):
            found = _with_graph(self.f, t, y)
        self.takes_gradient = True
        return found

    def arithmetic(self, compiled: bool = False) -> AbstractContextManager:
        """The autocast state for a solver's own sums: off, since autocast would round them to half
        precision. A compiled graph has f inside it, so it runs under f's state.
        """
        settings = _autocast_settings(self.device_types)
        if compiled and settings == self.autocast:
            return nullcontext()
        if compiled and self.autocast is not None:
            return _autocast(self.autocast)
        return nullcontext() if settings is None else _autocast(_off(settings))


class AutocastSetting(NamedTuple):
    """The state of autocast for one type of device."""

    device_type: str
    enabled: bool
    dtype: torch.dtype


Settings = tuple[AutocastSetting, ...]


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Autocast off; costs nothing where it is off."""
    settings = _autocast_settings(_device_types(device))
    return nullcontext() if settings is None else _autocast(_off(settings))


@cache
def _device_types(device: torch.device) -> tuple[str, ...]:
    return ("cpu",) if device.type in ("cpu", "meta") else (device.type, "cpu")


def _autocast_settings(device_types: tuple[str, ...]) -> Settings | None:
    """The current state for each type of device; None where all are off."""
    if not any(map(torch.is_autocast_enabled, device_types)):
        return None
    return tuple(
        AutocastSetting(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        for kind in device_types
    )


def _off(settings: Settings) -> Settings:
    return tuple(setting._replace(enabled=False) for setting in settings)


@contextmanager
def _autocast(settings: Settings | None) -> Iterator[None]:
    if not settings:
        yield
        return
    first, others = settings[0], settings[1:]
    with torch.autocast(first.device_type, dtype=first.dtype, enabled=first.enabled):
        with _autocast(others):
            yield


def _with_graph(f: Callable, t: Tensor, y: State) -> object:
    """f(t, y) with a y that requires a gradient; its graph is dropped where gradients are
    disabled.
    """
    keep = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        entries = [_tracked(e) for e in (y if isinstance(y, tuple) else (y,))]
        returned = f(t, tuple(entries) if isinstance(y, tuple) else entries[0])
    return returned if keep else _detached(returned)


def _tracked(y: Tensor) -> Tensor:
    if y.requires_grad:
        return y
    # A tensor made in inference mode cannot require a gradient; its copy can.
    return (y.clone() if y.is_inference() else y.detach()).requires_grad_()


def _detached(returned: object) -> object:
    if isinstance(returned, Tensor):
        return returned.detach()
    if isinstance(returned, (tuple, list)):
        return type(returned)(map(_detached, returned))
    return returned
