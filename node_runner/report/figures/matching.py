"""Chen et al. 2018, figure 4: planar flows and CNFs matched to densities known up to a constant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from ...plotting import add_colour_bar
from ..curves import NothingToDraw, add_legend_below
from ..formatting import labels
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

TITLE = "Density matching (Chen et al. 2018, figure 4)"
SIDE = 3.2  # inches of a picture
EDGE = 4.0  # half the side of the square that the densities are on, as in data/energies.py
NEED = (
    "no run has test/kl and the arrays of task=cnf_density: node-run -m task=cnf_density "
    "model.field.width=2,8,32 makes some, and so does node-run -m task=cnf_density model=planar_nf "
    "model.layers=2,8,32"
)
# By family: the option that is its size, and that size in words.
FAMILIES = {"NF": ("model.layers", "K = {} layers"), "CNF": ("model.field.width", "M = {} units")}


@dataclass(frozen=True)
class _Match:
    """A run that learned an energy's density.

    Attributes:
        family, size: NF and its number of layers, or CNF and its number of units.
        config: The other options but the seed: runs on one curve have the same.
        target, learned: Densities on a grid, rows from below.
    """

    result: Result
    energy: str
    family: str
    size: int
    kl: float
    config: str
    target: np.ndarray
    learned: np.ndarray


def _match(result: Result) -> _Match | None:
    """Read a run; None if it is not a trained net of a family, or lacks what is drawn."""
    sizes = {name: result.options.get(option) for name, (option, _) in FAMILIES.items()}
    family = next((name for name, size in sizes.items() if isinstance(size, int)), None)
    kl = result.metric("test/kl")
    if (result.task, result.mode) != ("cnf_density", "train") or family is None or not isfinite(kl):
        return None
    arrays = result.folder / "arrays"
    try:
        densities = [np.load(arrays / f"density_{name}.npy") for name in ("target", "learned")]
    except (OSError, ValueError, EOFError):  # absent, or cut off
        return None
    varied = (FAMILIES[family][0], "seed", "task.energy")
    config = {name: value for name, value in result.options.items() if name not in varied}
    energy, config = str(result.options.get("task.energy")), json.dumps(config, sort_keys=True)
    return _Match(result, energy, family, sizes[family], kl, config, *densities)


def paint(figure: Figure, results: Sequence[Result]) -> None:
    """Draw a row for each energy: the target, the largest flow of each family, and the divergence
    against size: a curve for each configuration, mean and range over its seeds. Of several runs of
    one configuration, size and seed that of the most steps counts.
    """
    matches = [match for match in map(_match, results) if match is not None]
    energies = sorted({match.energy for match in matches})
    if not energies:
        raise NothingToDraw(NEED)
    figure.set_size_inches(4.7 * SIDE, len(energies) * (SIDE + 0.4) + 0.5)
    rows = figure.subplots(len(energies), 4, squeeze=False, width_ratios=(1, 1, 1, 1.3))
    for axes, energy in zip(rows, energies, strict=True):
        _paint_row(axes, energy, [match for match in matches if match.energy == energy])


def _paint_row(axes: Sequence[Axes], energy: str, matches: Sequence[_Match]) -> None:
    """Draw one energy; the colour scale of its pictures ends at the target's highest density."""
    target = matches[0].target
    image = _show(axes[0], target, f"{energy}, target", target.max())
    for axis, (family, (_, unit)) in zip(axes[1:3], FAMILIES.items(), strict=True):
        own = [match for match in matches if match.family == family]
        if not own:
            axis.text(0.5, 0.5, f"no {family}", ha="center", va="center", color="gray")
            axis.axis("off")
            continue
        best = max(own, key=lambda match: (match.size, match.result.steps))
        _show(axis, best.learned, f"{family}, {unit.format(best.size)}", target.max())
        _curves(axes[3], family, own)
    add_colour_bar(image, list(axes[:3]), "probability density")
    _finish(axes[3], sorted({match.size for match in matches}))


def _curves(axis: Axes, family: str, matches: Sequence[_Match]) -> None:
    """Draw a curve for each configuration of a family, which has one colour in every row."""
    configs: dict[str, dict[int, dict[int, _Match]]] = {}
    for match in sorted(matches, key=lambda match: (match.size, match.result.steps)):
        sizes = configs.setdefault(match.config, {})
        sizes.setdefault(match.size, {})[match.result.seed] = match
    option = FAMILIES[family][0]
    names = labels([_first(sizes).result for sizes in configs.values()], ("task", "model", option))
    for i, (name, sizes) in enumerate(zip(names, configs.values(), strict=True)):
        kls = [[match.kl for match in seeds.values()] for seeds in sizes.values()]
        seeds = max(map(len, kls))
        label = family if len(configs) == 1 else f"{family}, {name}"
        label += f" (mean of {seeds} seeds, min to max)" if seeds > 1 else ""
        style = {"color": f"C{list(FAMILIES).index(family)}", "marker": "os^Dv"[i % 5]}
        axis.plot(list(sizes), [*map(mean, kls)], markersize=4, label=label, **style)
        if seeds > 1:
            ends = [*map(min, kls)], [*map(max, kls)]
            axis.fill_between(list(sizes), *ends, color=style["color"], alpha=0.2, linewidth=0)


def _first(sizes: dict[int, dict[int, _Match]]) -> _Match:
    return next(iter(next(iter(sizes.values())).values()))


def _show(axis: Axes, density: np.ndarray, title: str, highest: float) -> AxesImage:
    style = {"origin": "lower", "cmap": "magma", "vmin": 0.0, "vmax": highest}
    image = axis.imshow(density, extent=(-EDGE, EDGE, -EDGE, EDGE), **style)
    axis.set(xlabel="$x_1$", ylabel="$x_2$")
    axis.set_title(title, fontsize=9)
    return image


def _finish(axis: Axes, sizes: Sequence[int]) -> None:
    """Label the axes of the divergence; ticks are the sizes that were run."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set(xlabel="K layers or M units", ylabel="KL(q | p) (nats)")
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    add_legend_below(axis)
    axis.grid(alpha=0.3)
