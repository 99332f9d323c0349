"""Functions that an enclosing torch.compile runs eagerly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Function = TypeVar("Function", bound=Callable)

_REASON = (
    "a solve chooses its steps by reading values, so that it runs outside the graph: "
    "leave fullgraph=False, or compile f (Solver(engine='compiled'))"
)


def run_eagerly(function: Function) -> Function:
    """Exclude ``function``, and what it calls, from the graph of an enclosing torch.compile.

    The graph breaks where it is called, as with ``torch.compiler.disable``. What is compiled by
    itself inside, such as f or the steps of ``engine="compiled"``, stays compiled.

    Args:
        function: a Python function; it is returned as it is, so that a call costs nothing more.
    """
    dynamo = torch._C._dynamo.eval_frame
    try:
        skip = dynamo._FrameAction.SKIP
        # torch.compiler.disable would import torch._dynamo, which takes longer than torch itself.
        dynamo.set_code_exec_strategy(function.__code__, dynamo._FrameExecStrategy(skip, skip))
    except AttributeError:  # another torch
        return torch.compiler.disable(function, reason=_REASON)
    vars(function).update(_torchdynamo_disable=True, _torchdynamo_disable_msg=_REASON)
    return function
