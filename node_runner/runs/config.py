"""Configuration files: where they lie, which groups they make, and resolvers that they use."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from os.path import expanduser
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

_PACKAGE = Path(__file__).parents[1]
# Beside the package in a checkout, inside it in a wheel.
FOLDER = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
VERSION_BASE = "1.3"  # of Hydra
USER_FOLDER = "command-line"  # Hydra's name for the provider of --config-dir


class _UserFolder(SearchPathPlugin):
    """Let Hydra find the files of ``--config-dir`` after those of conf/."""

    folder: Path | None = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if self.folder is not None:
            search_path.append(provider=USER_FOLDER, path=f"file://{self.folder}")


def register(config_dir: str | None = None, importable: bool = True) -> None:
    """Register the resolvers of conf/, a folder of the user, and the choices of eval_solver and
    eval_divergence: those of solver/ and divergence/, so that a new one is one file.

    Args:
        config_dir: Folder of the user with groups of configuration files.
        importable: Whether the user's classes may be imported from that folder.
    """
    OmegaConf.register_new_resolver("times", _multiply, replace=True)
    OmegaConf.register_new_resolver("either", _coalesce, replace=True)
    OmegaConf.register_new_resolver("home", home, replace=True)
    _UserFolder.folder = None if config_dir is None else Path(home(config_dir)).absolute()
    Plugins.instance().register(_UserFolder)
    if importable and config_dir is not None and str(_UserFolder.folder) not in sys.path:
        sys.path.append(str(_UserFolder.folder))  # last: it hides no other module
    store = ConfigStore.instance()
    # Hydra deep-copies its sources, and with them this store of 30 nodes, for each composition and
    # each question about a group: three quarters of the time of --help. A node that it loads from
    # the store is a copy already.
    vars(store)["__deepcopy__"] = _shared_store
    for name in files("solver"):
        node = {
            "defaults": [{"/solver@_here_": name}, "_self_"],
            "rtol": "${either:${eval_tol},${tol}}",
            "atol": "${times:${either:${eval_tol},${tol}},${atol_ratio}}",
            "gradient": None,
        }
        store.store(group="eval_solver", name=name, node=node, provider="node_runner")
    for name in files("divergence"):
        node = {"defaults": [{"/divergence@_here_": name}]}
        store.store(group="eval_divergence", name=name, node=node, provider="node_runner")


def _shared_store(memo: object) -> ConfigStore:
    return ConfigStore.instance()


def folders() -> list[Path]:
    """Return conf/ and the registered folder of the user."""
    return [FOLDER, *([_UserFolder.folder] if _UserFolder.folder else [])]


def groups() -> set[str]:
    """Return the names of all groups: the folders of conf/ and of the user's folder."""
    named = {path.name for folder in folders() for path in folder.iterdir() if path.is_dir()}
    return named | {"eval_solver", "eval_divergence"}


def files(group: str) -> list[str]:
    """Return the choices of a group that are files."""
    names = {
        file.relative_to(folder / group).with_suffix("").as_posix()
        for folder in folders()
        for file in (folder / group).rglob("*.yaml")
    }
    return sorted(names)


def dotted(tree: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every dotted key of a nested dictionary with its value, inner nodes included."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield f"{prefix}{key}", value
            yield from dotted(value, f"{prefix}{key}.")


def leaves(config: Any) -> dict[str, Any]:
    """Return every value by its dotted key, interpolations as they were written. Empty groups
    count as values.
    """
    tree = OmegaConf.to_container(config, resolve=False)
    return {k: v for k, v in dotted(tree) if not (isinstance(v, dict) and v)}


def has_prefix(key: str, prefixes: Iterable[str]) -> bool:
    """Return whether a dotted key is one of ``prefixes`` or lies below one."""
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def top_level(key: str) -> str:
    """Return the first part of a key, such as hydra of hydra/launcher or hydra.run.dir."""
    return key.replace("/", ".").partition(".")[0]


def home(path: object) -> str:
    """Return the path with the home folder in place of ~."""
    return expanduser(str(path))


def _multiply(a: float | None, b: float | None) -> float | None:
    """Return a * b; None if a factor is None. What is not a number is returned for the check of
    values to refuse.
    """
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a * b
    return a if not isinstance(a, (int, float)) else b


def _coalesce(a: object, b: object) -> object:
    """Return b where a is None."""
    return b if a is None else a
