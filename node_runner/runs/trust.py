"""Constructors that the configuration of a stored run may name.

Hydra calls whatever stands under ``_target_``, and a run's folder may have been made by a stranger.
So of a stored run only constructors of node_runner and optimizers of torch.optim are called, and
what the user names today: by ``trust=``, as a ``_target_`` that is typed, or in a folder that is
typed as ``--config-dir``. A name is resolved to the object that it stands for, since every module
has more names than its own (``node_runner.runs.build.torch.load``).
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from antlr4 import ParserRuleContext
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar.gen.OmegaConfGrammarParser import OmegaConfGrammarParser as Grammar
from omegaconf.grammar_parser import parse

from ..errors import UserError
from .config import has_prefix

# Packages of node_runner whose classes compute: those of others write files or start processes.
ROOMS: tuple[str, ...] = ("ode", "fields", "nets", "flow", "latent", "trajectory", "odenet")
ROOMS += ("tasks", "data", "training.trainer", "training.schedule", "training.runtime")
# Resolvers that conf/ uses. Of the environment only the folder of the data is read.
RESOLVERS = ("times", "either", "home", "oc.select", "oc.env")
VARIABLE = "NODE_RUNNER_DATA"

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_stored(config: DictConfig, source: str, trusted: Sequence[str]) -> None:
    """Refuse a stored configuration that could run code of somebody else's choice.

    Args:
        source: The option that names the run, for messages.
        trusted: Packages or single targets that the user allows.

    Raises:
        UserError: naming the key, the target and the remedy.
    """
    for key, value in _values(OmegaConf.to_container(config, resolve=False)):
        if _is_target(key, value):
            _check_target(key, value, source, trusted)
        elif isinstance(value, str) and "${" in value:
            _check_interpolation(key, value, source)
    try:
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:  # said where all values are checked
        return
    for key, value in _values(resolved):
        if _is_target(key, value):
            _check_target(key, value, source, trusted)
        elif isinstance(value, str) and "${" in value:
            _refuse_interpolation(key, value, source)


def _check_target(key: str, target: object, source: str, trusted: Sequence[str]) -> None:
    if target is None or is_trusted(target, trusted) or is_constructor(target):
        return
    remedy = "leave it out"
    if isinstance(target, str) and NAME.fullmatch(target):
        remedy = f"if you know this one and trust it, add trust={target} (or its package)"
    kind = "which could run any code"
    if isinstance(target, str) and has_prefix(target, ("node_runner", "torch.optim")):
        kind = "which is not a constructor there, or not in this version"
    raise UserError(
        f"{source}: {key} is {target!r}, {kind}; of a stored run only constructors of node_runner "
        f"and torch.optim are called: {remedy}"
    )


def _check_interpolation(key: str, value: str, source: str) -> None:
    """Only resolvers of conf/ are called, and what they give is not resolved a second time, which
    Hydra would do.
    """
    try:
        calls = list(_resolvers(parse(value)))
    except OmegaConfBaseException:  # said where all values are checked
        return
    for call in calls:
        name, _, arguments = call.partition(":")
        foreign = name == "oc.env" and arguments.partition(",")[0] != VARIABLE
        if name not in RESOLVERS or foreign:
            _refuse_interpolation(key, value, source)


def _refuse_interpolation(key: str, value: str, source: str) -> NoReturn:
    raise UserError(
        f"{source}: {key} is {value!r}; a stored run may use no resolvers but "
        f"{', '.join(RESOLVERS[:-1])} and oc.env:{VARIABLE}, and no escaped ones: type its value, "
        f"{key}=..."
    )


def _resolvers(tree: ParserRuleContext) -> Iterator[str]:
    """Yield every call of a resolver in a parsed string, as name:arguments."""
    if isinstance(tree, Grammar.InterpolationResolverContext):
        yield tree.getText()[2:-1]
    for child in getattr(tree, "children", None) or ():
        yield from _resolvers(child)


def is_constructor(name: object) -> bool:
    """Return whether a name is a class that node_runner defines for use in a configuration, a
    function of it that returns a module, or an optimizer of torch.

    Nothing outside node_runner and torch.optim is imported to find out.
    """
    if not isinstance(name, str) or not name.startswith(("node_runner.", "torch.optim.")):
        return False
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute, None)
    except (ImportError, ValueError):
        return False
    home, title = (getattr(found, part, None) for part in ("__module__", "__qualname__"))
    if not isinstance(home, str) or getattr(sys.modules.get(home), str(title), None) is not found:
        return False
    if get_object(name) is not found:  # which looks for attributes before it looks for modules
        return False
    if has_prefix(home, ("torch.optim",)):
        return inspect.isclass(found) and issubclass(found, _optimizers())
    if not has_prefix(home, [f"node_runner.{room}" for room in ROOMS]):
        return False
    return inspect.isclass(found) or (inspect.isfunction(found) and _makes_module(found))


def _optimizers() -> tuple[type, ...]:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    return Optimizer, LRScheduler


def _makes_module(function: Any) -> bool:
    from torch.nn import Module

    try:
        made = get_type_hints(function).get("return")
    except (NameError, TypeError):
        return False
    return inspect.isclass(made) and issubclass(made, Module)


def is_trusted(target: object, trusted: Sequence[str]) -> bool:
    """Return whether the user allows a target: by its full name, or by a package that it lies and
    is defined in.
    """
    if not isinstance(target, str) or not has_prefix(target, trusted):
        return False
    if target in trusted:
        return True
    try:
        named = get_object(target)
        home = named.__name__ if inspect.ismodule(named) else getattr(named, "__module__", None)
    except (ImportError, ValueError, TypeError):  # said where the node itself is checked
        return True
    return isinstance(home, str) and has_prefix(home, trusted)


def names(value: object) -> list[str]:
    """Return the packages that ``trust=`` names.

    Raises:
        UserError: For what is neither a name nor a list of names.
    """
    listed: list[Any] = [value]
    if value is None:
        listed = []
    elif isinstance(value, Sequence) and not isinstance(value, str):
        listed = list(value)
    for name in listed:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(
                f"trust is {value!r}, must be a package or a list of them: trust=my_package, "
                "trust=[my_package,other.Thing]"
            )
    return listed


def targets(tree: object) -> list[str]:
    """Return every name of nested plain containers that is to be imported."""
    return [v for key, v in _values(tree) if _is_target(key, v) and isinstance(v, str)]


def _is_target(key: str, value: object = None) -> bool:
    """Return whether a value names something to be imported: a target, or a solver's method that
    is not one of ours.
    """
    path = key.split(".")
    dotted_method = path[-1] == "method" and isinstance(value, str) and NAME.fullmatch(value)
    return "_target_" in path or bool(dotted_method and "." in str(value))


_NAMED = re.compile(r"(?:_target_|\bmethod)['\"]?\s*[:=]\s*['\"]?([\w.]+)")


def targets_of_folder(folder: str | Path) -> list[str]:
    """Return the names under ``_target_`` in a folder of configuration files that are of other
    packages than node_runner and torch.optim.
    """
    named: dict[str, None] = {}
    for file in sorted(Path(folder).rglob("*.yaml")):
        text = file.read_text(encoding="utf-8", errors="replace")
        named |= dict.fromkeys(_NAMED.findall(text))
    return foreign(name for name in named if "." in name)


def foreign(names: Iterable[str]) -> list[str]:
    """Return the names of other packages than node_runner and torch.optim, each once."""
    ours = ("node_runner", "torch.optim")
    return [n for n in dict.fromkeys(names) if NAME.fullmatch(n) and not has_prefix(n, ours)]


def _values(tree: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of nested containers that is not a container, by its dotted key."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _values(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, (list, tuple)):
        for number, value in enumerate(tree):
            yield from _values(value, f"{prefix}.{number}")
    else:
        yield prefix, tree
