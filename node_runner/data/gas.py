"""GAS: sixteen gas sensors in a mixture of ethylene and carbon monoxide."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .files import Table, find, folders, missing_file_error
from .scaling import Scaling, z_score
from .tabular import SEED, Splits, TabularFiles, head_tail_split

UCI = "https://archive.ics.uci.edu/dataset/322"
TABLE = Table(columns=("time", "CO", "ethylene", *(f"sensor {i}" for i in range(1, 17))))


class Gas(TabularFiles):
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
        seed, device, batch_size, evaluation_size, state: as for ``TabularFiles``, and its errors.
    """

    name = "gas"

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        places = folders(root, "gas")
        path = find(places, ("ethylene_CO.txt", "ethylene_CO.txt.gz"))
        if path is None:
            wanted = "ethylene_CO.txt"
            pickled = find(places, ("ethylene_CO.pickle",))
            if pickled is not None:
                wanted += (
                    f" ({pickled.name} of the MAF archive is a pandas pickle, and is not read)"
                )
            raise missing_file_error(
                places[0] if pickled is None else pickled.parent, wanted, UCI, root
            )
        cells = TABLE.read(path)
        drawn = np.random.RandomState(SEED).permutation(len(cells))[: round(len(cells) / 4)]
        sensors = cells[drawn, 3:]
        if scaling is None or scaling.columns is None:
            kept = uncorrelated(sensors)
            scaling = z_score(sensors[:, kept], str(path), ddof=1, columns=kept)
        x = sensors[:, scaling.columns]
        part = f"a random quarter ({len(x)} of {len(cells)} rows), another than the MAF archive's"
        return part, head_tail_split(x, str(path)), scaling


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
