"""Construction of the objects that a configuration names; errors have the key that was typed.

``hydra.utils.instantiate`` says where an object could not be made in prose only. Here a refusal
is known together with the key of its node, so that "steer is 2" becomes "model.cnf.steer is 2".
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError, first_line
from .annotations import methods
from .config import home
from .schema import source_key

__all__ = ["Parts", "check_kind", "out_of_memory"]

T = TypeVar("T")

# What torch says where there is no memory for a tensor, or no number for its size.
_SCARCE = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")


class Parts:
    """Objects of a configuration.

    Args:
        config: Checked configuration; its interpolations are resolved.
    """

    def __init__(self, config: DictConfig) -> None:
        self._raw: Any = OmegaConf.to_container(config, resolve=False)
        self._values: Any = _at_home(OmegaConf.to_container(config, resolve=True))

    def make(self, name: str, *kinds: type, **provided: object) -> Any:
        """Return the object of a group.

        Args:
            name: Key of the group.
            kinds: Classes that it must be an instance of, or protocols whose methods it must have.
            provided: Arguments besides those of the configuration.

        Raises:
            UserError: For values that a constructor refuses, and an object of another kind.
        """
        made = self._construct(self._values[name], name, provided)
        check_kind(made, name, *kinds)
        return made

    def _construct(self, node: Any, key: str, provided: Mapping[str, object]) -> Any:
        if isinstance(node, list):
            return [self._construct(part, f"{key}[{i}]", {}) for i, part in enumerate(node)]
        if not isinstance(node, Mapping):
            return node
        recursive = node.get("_recursive_", True)
        values = {
            name: self._construct(value, f"{key}.{name}", {}) if recursive else value
            for name, value in node.items()
            if name not in ("_target_", "_partial_", "_recursive_", "_convert_")
        }
        if "_target_" not in node:
            return values
        positional = values.pop("_args_", [])
        arguments = {**values, **provided}
        target = get_object(node["_target_"])
        if node.get("_partial_"):
            return partial(self._call, target, key, *positional, **arguments)
        return self._call(target, key, *positional, **arguments)

    def _call(self, target: Any, key: str, *positional: object, **arguments: object) -> Any:
        """Return ``target(*positional, **arguments)``; what it refuses is named by its key.

        Args:
            target: Constructor of a node.
            key: Key of the node.

        Raises:
            UserError: In place of an error that is due to the arguments.
        """
        parameters: Mapping[str, Any] = {}
        try:
            signature = inspect.signature(target)
            parameters = signature.parameters
            signature.bind(*positional, **arguments)
        except ValueError:  # a signature that cannot be read
            pass
        except TypeError as error:
            name = getattr(target, "__name__", target)
            raise UserError(f"{source_key(self._raw, key)}: {name}: {error}") from error
        try:
            return target(*positional, **arguments)
        except UserError:
            raise
        except OSError as error:
            raise UserError(str(error)) from error
        except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
            raise UserError(self._refusal(error, key, target, parameters)) from error

    def apply(self, key: str, method: Callable[..., T], *arguments: object) -> T:
        """Return ``method(*arguments)`` of the object of a group; what it refuses is named by key.

        Raises:
            UserError: In place of a ValueError.
        """
        owner = type(getattr(method, "__self__", method))
        try:
            return method(*arguments)
        except UserError:
            raise
        except ValueError as error:
            parameters = inspect.signature(owner).parameters
            raise UserError(self._refusal(error, key, owner, parameters)) from error

    def _refusal(
        self, error: BaseException, key: str, target: Any, parameters: Mapping[str, Any]
    ) -> str:
        """Return a constructor's refusal with the key of the argument that it names first."""
        if (scarce := out_of_memory(error)) is not None:
            return scarce
        word, space, text = str(error).partition(" ")
        name = word.rpartition(".")[2]
        if name in parameters:
            return f"{source_key(self._raw, f'{key}.{name}')}{space}{text}"
        module = getattr(target, "__module__", None) or ""
        if isinstance(error, ValueError) and module.startswith("node_runner."):
            return str(error)  # a sentence of ours, complete in itself
        return f"{source_key(self._raw, key)}: {first_line(error)}"


def _at_home(value: Any) -> Any:
    """Return nested values with the home folder in place of ~ at the start of a path."""
    if isinstance(value, dict):
        return {key: _at_home(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_at_home(part) for part in value]
    return home(value) if isinstance(value, str) and value.startswith("~/") else value


def check_kind(made: object, key: str, *kinds: type) -> None:
    """Check that what a group has made is of these classes, or has the methods of these protocols.

    Raises:
        UserError: If it does not.
    """
    for kind in kinds:
        protocol = methods(kind) if getattr(kind, "_is_protocol", False) else []
        fits = bool(protocol) or isinstance(made, kind)
        if not fits or not all(hasattr(made, method) for method in protocol):
            what = type(made).__name__
            raise UserError(f"{key}._target_ makes a {what}, must make a {kind.__name__}")


def out_of_memory(error: BaseException) -> str | None:
    """Return one line for an error that means that something is too large; None for others."""
    text = first_line(error)
    if not isinstance(error, MemoryError) and not any(part in str(error) for part in _SCARCE):
        return None
    asked = re.search(r"(\d+) bytes|[Tt]ried to allocate ([\d.]+ [KMGT]iB)", str(error))
    size = f" for {int(asked[1]) / 2**30:.4g} GiB" if asked and asked[1] else ""
    size = f" for {asked[2]}" if asked and asked[2] else size
    return (
        f"out of memory: there is no room{size} ({text[:120]}); reduce data.batch_size or the "
        "sizes of the model, or choose gradient=adjoint, which keeps no steps"
    )
