"""Attributes of func that are called as a solve goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..state import Layout
from .form import Form

EVENTS = ("step", "accept_step", "reject_step")


@dataclass(frozen=True)
class Callbacks:
    """The callbacks of a solve: (t0, y0, dt), y0 as func sees it, dt > 0 whichever way t runs.

    Args:
        called: ``step`` before each attempt, ``accept_step`` and ``reject_step`` after it.
        form, layout: of the state.
        dtype: of t0 and dt.
    """

    called: Mapping[str, Callable]
    form: Form
    layout: Layout
    dtype: torch.dtype = torch.float64

    def __call__(self, event: str, t: float | Tensor, flat: Tensor, dt: float | Tensor) -> None:
        """Tell whoever listens to ``event``."""
        callback = self.called.get(event)
        if callback is None:
            return
        state = self.form.outer(self.layout.copies(flat))
        callback(self.time(t), state, self.time(dt).abs())

    def time(self, t: float | Tensor) -> Tensor:
        return torch.as_tensor(t, dtype=self.dtype, device=self.layout.device)


def callbacks_of(
    func: object, suffix: str, method: str, heard: Sequence[str]
) -> dict[str, Callable]:
    """Those of func's attributes callback_step, callback_accept_step and callback_reject_step (with
    ``suffix``) that ``method`` calls, by their event; of the others the caller is warned.
    """
    named = {event: getattr(func, f"callback_{event}{suffix}", None) for event in EVENTS}
    found = {event: callback for event, callback in named.items() if callback is not None}
    unheard = [f"callback_{event}{suffix}" for event in found if event not in heard]
    if unheard:
        warnings.warn(
            f"{method} never calls {' and '.join(unheard)}: "
            + (f"it calls {', '.join(f'callback_{e}' for e in heard)} alone" if heard else "none"),
            stacklevel=4,
        )
    return {event: callback for event, callback in found.items() if event in heard}
