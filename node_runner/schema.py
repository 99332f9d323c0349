"""What a configuration may hold: the signature of each constructor is its schema.

Values are compared with annotations, keys with arguments. A complaint is one line that names the
key, the value seen, what is possible, and the nearest name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypedDict, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .annotation import conforms, describe, hints_of, locate, made_by, nearest


class UserError(ValueError):
    """A mistake in what was typed: told in one line, exit code 2."""


def told(function: Callable, *arguments: object) -> Any:
    """The result of ``function``; a value that it refuses is a mistake of the user's.

    Raises:
        UserError: in place of a ValueError.
    """
    try:
        return function(*arguments)
    except ValueError as error:
        raise UserError(str(error)) from error


OF_A_RUN = ("evaluate", "sample")  # modes that need run=PATH
MODES = ("train", *OF_A_RUN, "fetch")


class Paths(TypedDict):
    """Where data are looked for and runs are left."""

    data: str
    out: str


class Series(TypedDict):
    """What models of irregular series are built from, where a task has such."""

    dim: int
    outputs: int
    noise: float
    latent: int
    state: int
    rnn: Literal["gru", "tanh"]
    ode_hidden: Sequence[int]
    cell_ode_hidden: Sequence[int]
    activation: Literal["tanh", "softplus", "elu", "relu", "swish"]
    decoder: Sequence[int]
    step: float
    samples: int


# Groups of plain values, and their keys.
PLAIN = {"paths": Paths, "series": Series}


class Root(TypedDict):
    """The keys of the configuration outside its groups, and their types."""

    mode: Literal[MODES]
    run: str | None
    resume: str | None
    trust: Sequence[str] | str | None
    accept_edits: bool
    seed: int
    tol: float
    atol_ratio: float
    eval_tol: float | None
    cell: str | None


# The groups that become objects. A node that others refer to stands before them, so that a
# complaint names the key that was typed.
NODES = (
    "gradient",
    "solver",
    "eval_solver",
    "divergence",
    "eval_divergence",
    "regularizer",
    "runtime",
    "data",
    "model",
    "optimizer",
    "schedule",
    "trainer",
    "task",
)


# Without these there is no run.
REQUIRED = ("task", "data", "optimizer", "trainer", "runtime")

# What the cli hands to a constructor besides its node.
PROVIDED = {"data": ("seed", "device", "state")}


# Hydra's own keys of a node.
SPECIAL = {
    "_target_": (str, "the dotted name of a class or a function"),
    "_partial_": (bool, "true or false"),
    "_recursive_": (bool, "true or false"),
    "_convert_": (str, "all"),
    "_args_": (list, "a list"),
}

LARGEST_INT, LARGEST_FLOAT = 2**63, 3.4028235e38  # of torch's integers and of float32


def dotted(tree: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every dotted key of a nested dictionary with its value, inner nodes included."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{prefix}{key}", value
            yield from dotted(value, f"{prefix}{key}.")


def unknown(what: str, name: str, known: Collection[str], listed: bool = False) -> str:
    """One line that suggests the nearest name, by its last part too, and lists them all if there is
    none near or if ``listed``.
    """
    near = get_close_matches(name, known, n=1)
    if not near:
        by_leaf = {key.rpartition(".")[2]: key for key in reversed(list(known))}
        near = [by_leaf[leaf] for leaf in get_close_matches(name.rpartition(".")[2], by_leaf, n=1)]
    few = sorted({key for key in known if "." not in key}) or sorted(known)
    all_of_them = f"choose from {', '.join(few)}" if few else "there are none yet"
    if near:
        return f"unknown {what}; did you mean {near[0]}?{f' ({all_of_them})' if listed else ''}"
    return f"unknown {what}; {all_of_them}"


def with_true_key(message: str, config: DictConfig) -> str:
    """Return a constructor's message with the key that the value has in this configuration.

    A constructor names the key of the usual place ("model.steer is 2"); where a configuration does
    not have that key and just one other of its group ends alike (model.cnf.steer), that is meant.
    """
    key, space, rest = message.partition(" ")
    group, dot, _ = key.partition(".")
    known = [name for name, _ in dotted({group: OmegaConf.to_container(config).get(group)})]
    if not dot or key in known:
        return message
    leaf = key.rpartition(".")[2]
    alike = [name for name in known if name.endswith(f".{leaf}")]
    return f"{alike[0]}{space}{rest}" if len(alike) == 1 else message


def check(config: DictConfig) -> None:
    """Check every value against the signature it is for; make an integer of 1e5 where one is meant.

    Raises:
        UserError: for an unknown key, a missing value, or a value of another type.
    """
    hints = get_type_hints(Root)
    for key in config:
        if key not in hints and key not in NODES and key not in PLAIN:
            known = [*hints, *NODES, *PLAIN, *dict(dotted(OmegaConf.to_container(config)))]
            raise UserError(unknown(key, key, [name for name in known if name != key]))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        said = first_line(error)
        if "'series." in said and "series" not in config:
            said = "this model is of series: choose a task of series, such as task=latent_spirals"
        if "'data." in said:
            said += ", which the task takes from its data: leave out data=, or choose that kind"
        raise UserError(said) from error
    seed = plain.get("seed")
    if isinstance(seed, (int, float)) and not 0 <= seed < 2**63:
        raise UserError(f"seed is {brief(seed)}, must be from 0 to 2^63 - 1")
    for key, hint in hints.items():
        if key not in plain:
            raise UserError(f"{key} is missing; it cannot be taken away")
        check_value(key, plain[key], hint)
    for key in ("tol", "atol_ratio", "eval_tol"):
        if plain[key] is not None and not plain[key] > 0:
            raise UserError(f"{key} is {plain[key]!r}, must be positive")
    for group, keys in PLAIN.items():
        if group in plain:
            check_plain(group, plain[group], get_type_hints(keys))
    for key, path in plain.get("paths", {}).items():
        if not path.strip():
            raise UserError(f"paths.{key} is empty: name a folder (. is the one you are in)")
    for key in REQUIRED:
        node = plain.get(key)
        if node is not None and not isinstance(node, Mapping):
            raise UserError(f"{key} is {brief(node)}, must be a group; choose one by {key}=...")
        if not node or "_target_" not in node:
            raise UserError(f"{key} is missing; choose one by {key}=...")
    regularizers = plain.get("regularizer") or {}
    if not isinstance(regularizers, Mapping):
        raise UserError(f"regularizer is {brief(regularizers)}, must be a group of regularizers")
    for name, node in regularizers.items():
        if not isinstance(node, Mapping) or "_target_" not in node:
            key, known = f"regularizer.{name}", [f"regularizer.{n}" for n in plain["regularizer"]]
            raise UserError(unknown(key, key, [k for k in known if k != key]))
    for key in NODES:
        check_node(key, plain.get(key))
    settle(config)


def check_plain(group: str, values: Mapping[str, object], hints: Mapping[str, Any]) -> None:
    """A group of plain values has all of its keys, no others, and their types."""
    if not isinstance(values, Mapping):
        raise UserError(f"{group} is {values!r}, must be a group of keys: {', '.join(hints)}")
    known = {f"{group}.{key}": hint for key, hint in hints.items()}
    typed = {f"{group}.{key}": value for key, value in values.items()}
    for key, hint in known.items():
        check_value(key, typed.get(key), hint)
    for key in typed:
        if key not in known:
            raise UserError(unknown(key, key, known))


def check_node(path: str, node: object) -> None:
    """A node with ``_target_`` has the keys and the types of that constructor's signature."""
    if isinstance(node, (list, tuple)):
        for i, item in enumerate(node):
            check_node(f"{path}[{i}]", item)
    if not isinstance(node, Mapping):
        return
    for key, (kind, said) in SPECIAL.items():
        if key in node and not isinstance(node[key], kind):
            raise UserError(f"{path}.{key} is {brief(node[key])}, must be {said}")
    if "_target_" in node:
        check_signature(path, node, node["_target_"])
    for key, value in node.items():
        check_node(f"{path}.{key}", value)


def check_signature(path: str, node: Mapping[str, Any], target: str) -> None:
    try:
        constructor = locate(target)
        parameters = inspect.signature(constructor).parameters
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}._target_ is {target!r}: {first_line(error)}") from error
    hints = hints_of(constructor)
    given = {key for key in node if not (key.startswith("_") and key.endswith("_"))}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in sorted(given):
        if key in PROVIDED.get(path, ()) or (key not in parameters and not takes_any):
            known = [f"{path}.{p}" for p in parameters if p not in PROVIDED.get(path, ())]
            raise UserError(unknown(f"{path}.{key}", f"{path}.{key}", known))
        check_value(f"{path}.{key}", node[key], hints.get(key, Any))
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if required and name not in given and name not in PROVIDED.get(path, ()):
            if not node.get("_partial_"):
                raise UserError(f"{path}.{name} is missing; {target} needs it")


def check_value(path: str, value: object, hint: Any) -> None:
    if value == "???":  # in conf/, of what only the user or a task knows
        raise UserError(f"{path} is missing; give it, {describe(hint)}: {path}=...")
    check_number(path, value)
    if not conforms(whole(value, hint), hint):
        made = made_by(value)
        seen = brief(value) if made is None else f"a {made.__name__}"
        raise UserError(f"{path} is {seen}, must be {describe(hint)}{nearest(value, hint)}")


def check_number(path: str, value: object) -> None:
    """Numbers, in lists too, are finite and within the range of what computes with them."""
    if isinstance(value, (list, tuple)):
        for item in value:
            check_number(path, item)
    elif isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
        raise UserError(f"{path} is {value}, must be a number within float32, to {LARGEST_FLOAT:g}")
    elif isinstance(value, int) and not abs(value) < LARGEST_INT:
        raise UserError(f"{path} is {brief(value)}, must be from -2^63 to 2^63 - 1")


def whole(value: Any, hint: Any) -> Any:
    """The value, with a whole number that is written as 1e5 as an integer where one is wanted."""
    if isinstance(value, list):
        items = [whole(item, (get_args(hint) or (Any,))[0]) for item in value]
        return items if conforms(items, hint) else value
    if isinstance(value, float) and value.is_integer() and not conforms(value, hint):
        return int(value) if conforms(int(value), hint) else value
    return value


def settle(config: DictConfig) -> None:
    """Make integers of the whole numbers that are written as 1e5, in place."""
    for key, value in list(dotted(OmegaConf.to_container(config, resolve=False))):
        if isinstance(value, (float, list)):
            parent, _, name = key.rpartition(".")
            settled = whole(value, hint_of(config, parent, name))
            if settled is not value:
                OmegaConf.update(config, key, settled)


def hint_of(config: DictConfig, parent: str, name: str) -> Any:
    """The annotation of the option ``parent.name``."""
    if not parent:
        return get_type_hints(Root).get(name, Any)
    if parent in PLAIN:
        return get_type_hints(PLAIN[parent]).get(name, Any)
    target = OmegaConf.select(config, f"{parent}._target_")
    return Any if target is None else hints_of(locate(target)).get(name, Any)


def brief(value: object, length: int = 60) -> str:
    """The value as a message shows it."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write integers of more than 4300 digits
        return "an integer of thousands of digits"
    return text if len(text) <= length else f"{text[:length]}..."


def first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
