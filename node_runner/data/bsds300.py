"""BSDS300: patches of natural images."""

from __future__ import annotations

from pathlib import Path

from .files import check_array, find, folders, missing_file_error
from .scaling import Scaling
from .tabular import MAF, Splits, TabularFiles, describe_part

ROWS = 1_300_000
COLUMNS = 63


class Bsds300(TabularFiles):
    """Grey patches of 8 x 8 pixels without their mean and their last pixel, with noise added.

    The splits of Papamakarios et al. 2017 as they are: 1,000,000, 50,000 and 250,000 rows.

    Args:
        root: folder that holds ``bsds300`` or ``BSDS300``, with the archive's BSDS300.hdf5.
        seed, device, batch_size, evaluation_size, state: as for ``TabularFiles``, and its errors.

    Raises:
        ValueError: where h5py is not installed.
    """

    name = "bsds300"

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        places = folders(root, "bsds300")
        path = find(places, ("BSDS300.hdf5",))
        if path is None:
            raise missing_file_error(places[1], "BSDS300.hdf5", MAF, root)
        try:
            import h5py  # optional
        except ImportError as error:
            raise ValueError(
                f"{path} is read by h5py, which is not installed: pip install 'node-runner[hdf5]'"
            ) from error
        try:
            with h5py.File(path, "r") as file:
                splits = Splits(*(file[split][:] for split in Splits._fields))
        except (OSError, KeyError) as error:
            raise ValueError(
                f"{path} is no whole HDF5 file of train, validation and test ({error})"
            ) from error
        for split, x in splits._asdict().items():
            check_array(x, f"{path}: {split}", COLUMNS)
        return describe_part(sum(map(len, splits)), ROWS), splits, scaling
