"""GAS: sixteen gas sensors in a mixture of ethylene and carbon monoxide."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .files import Table, absent, find, folders
from .scaling import Scaling, scaling_of, z_score
from .tabular import SEED, Splits, Tabular, tails

UCI = "https://archive.ics.uci.edu/dataset/322"
TABLE = Table(columns=("time", "CO", "ethylene", *(f"sensor {i}" for i in range(1, 17))))


class Gas(Tabular):
    """Eight of the sixteen sensors.

    The preprocessing of Papamakarios et al. 2017: time and both concentrations are dropped; the
    first column that correlates above 0.98 with another is dropped, again and again until none
    does; the last tenth is for testing, the last tenth of the rest for validation; mean and sample
    deviation are those of all rows, the test included.

    The archive's pickle has 1,052,065 rows, a quarter of UCI's, drawn at random without a seed by
    what its released code says. A quarter is drawn here too, in a fixed random order: rows of the
    same distribution, but not the same rows.

    Args:
        root: folder that holds ``gas`` or ``GAS``, with UCI's ethylene_CO.txt or its .gz.
        batch_size, evaluation_size: as for ``Tabular``.
        state: ``state_dict()`` of the run that is evaluated or resumed, whose scaling is then used.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for files that hold something else.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 1000,
        evaluation_size: int = 1000,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        part, splits, scaling = load(Path(root), scaling_of(state))
        sizes = (batch_size, evaluation_size)
        super().__init__("gas", part, splits, seed, device, *sizes, scaling)


def load(root: Path, scaling: Scaling | None = None) -> tuple[str, Splits, Scaling]:
    """Which part is there, its splits, and their scaling, the one given if any."""
    places = folders(root, "gas")
    path = find(places, ("ethylene_CO.txt", "ethylene_CO.txt.gz"))
    if path is None:
        wanted = "ethylene_CO.txt"
        pickled = find(places, ("ethylene_CO.pickle",))
        if pickled is not None:
            wanted += f" ({pickled.name} of the MAF archive is a pandas pickle, and is not read)"
        raise absent(places[0] if pickled is None else pickled.parent, wanted, UCI, root)
    cells = TABLE.read(path)
    drawn = np.random.RandomState(SEED).permutation(len(cells))[: round(len(cells) / 4)]
    sensors = cells[drawn, 3:]
    if scaling is None or scaling.columns is None:
        kept = uncorrelated(sensors)
        scaling = z_score(sensors[:, kept], str(path), ddof=1, columns=kept)
    x = sensors[:, scaling.columns]
    part = f"a random quarter ({len(x)} of {len(cells)} rows), another than the MAF archive's"
    return part, tails(x, str(path)), scaling


def uncorrelated(x: np.ndarray) -> np.ndarray:
    """The columns that stay where each that correlates above 0.98 with a later one is dropped."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a constant column is refused later
        correlation = np.corrcoef(x, rowvar=False)
    kept = np.arange(x.shape[1])
    while True:
        high = (correlation[np.ix_(kept, kept)] > 0.98).sum(axis=0) > 1
        if not high.any():
            return kept
        kept = np.delete(kept, high.argmax())
