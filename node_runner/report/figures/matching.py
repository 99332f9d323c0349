"""Chen et al. 2018, figure 4: what planar flows make of densities known up to a constant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean
from typing import TYPE_CHECKING

import numpy as np

from ..curves import NothingToDraw
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Density matching (Chen et al. 2018, figure 4)"
SIDE = 3.0  # of a picture, in inches
NEED = (
    "no run has test/kl and the arrays of task=cnf_density: node-run -m task=cnf_density "
    "model.field.width=2,8,32 makes some, and so does node-run -m task=cnf_density model=planar_nf "
    "model.layers=2,8,32"
)
# By family: the option that is its size, and that size in words.
FAMILIES = {"NF": ("model.layers", "K = {} layers"), "CNF": ("model.field.width", "M = {} units")}


@dataclass(frozen=True)
class Match:
    """A run that learned an energy's density.

    Attributes:
        family, size: NF and how many layers, or CNF and how many units.
        target, learned: densities on a grid, rows from below.
    """

    energy: str
    family: str
    size: int
    kl: float
    steps: int
    target: np.ndarray
    learned: np.ndarray


def match(result: Result) -> Match | None:
    """Nothing if it is no trained net of a family, or lacks what is drawn."""
    sizes = {name: result.options.get(option) for name, (option, _) in FAMILIES.items()}
    family = next((name for name, size in sizes.items() if isinstance(size, int)), None)
    kl = result.metric("test/kl")
    if (result.task, result.mode) != ("cnf_density", "train") or family is None or not isfinite(kl):
        return None
    arrays = result.folder / "arrays"
    try:
        densities = [np.load(arrays / f"density_{name}.npy") for name in ("target", "learned")]
    except (OSError, ValueError, EOFError):  # not there, or cut off
        return None
    energy = str(result.options.get("task.energy"))
    return Match(energy, family, sizes[family], kl, result.steps, *densities)


def paint(figure: Figure, results: Sequence[Result]) -> None:
    """A row for each energy: the target, the largest flow of each family, and the divergence
    against size. Of several runs of one size those count that were trained for the most steps.
    """
    found = [each for each in map(match, results) if each is not None]
    energies = sorted({each.energy for each in found})
    if not energies:
        raise NothingToDraw(NEED)
    figure.set_size_inches(4.4 * SIDE, len(energies) * SIDE + 0.5)
    rows = figure.subplots(len(energies), 4, squeeze=False, width_ratios=(1, 1, 1, 1.3))
    for axes, energy in zip(rows, energies, strict=True):
        paint_row(axes, energy, [each for each in found if each.energy == energy])


def paint_row(axes: Sequence[Axes], energy: str, found: Sequence[Match]) -> None:
    """All that matched one energy. The brightest of each picture is the target's highest: what is
    higher than that is not told apart.
    """
    target = found[0].target
    image(axes[0], target, f"{energy}, target", target.max())
    for axis, (family, (_, unit)) in zip(axes[1:3], FAMILIES.items(), strict=True):
        by_size = longest([each for each in found if each.family == family])
        if not by_size:
            axis.text(0.5, 0.5, f"no {family}", ha="center", va="center", color="gray")
            axis.axis("off")
            continue
        largest = max(by_size)
        shown = by_size[largest][0].learned
        image(axis, shown, f"{family}, {unit.format(largest)}", target.max())
        means = [mean(each.kl for each in runs) for runs in by_size.values()]
        colour = f"C{list(FAMILIES).index(family)}"  # the same in every row
        axes[3].plot(list(by_size), means, colour, marker="o", markersize=4, label=family)
    curve(axes[3], sorted({each.size for each in found}))


def longest(found: Sequence[Match]) -> dict[int, list[Match]]:
    """By size, from small to large, the runs of the most steps: several where there are seeds."""
    chosen = {}
    for size in sorted({each.size for each in found}):
        of_size = [each for each in found if each.size == size]
        most = max(each.steps for each in of_size)
        chosen[size] = [each for each in of_size if each.steps == most]
    return chosen


def image(axis: Axes, density: np.ndarray, title: str, highest: float) -> None:
    axis.imshow(density, origin="lower", cmap="magma", vmin=0.0, vmax=highest)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=9)


def curve(axis: Axes, sizes: Sequence[int]) -> None:
    """Ticks are the sizes that were run."""
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set(xlabel="K or M", ylabel="KL(q | p), nats")
    axis.set_ylim(bottom=min(0.0, axis.get_ylim()[0]))
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)
