"""POWER: the electricity that one household drew, minute by minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .files import Table, check_unpacked_sum, find, folders, missing_file_error, read_array
from .scaling import Scaling, z_score
from .tabular import MAF, SEED, Splits, TabularFiles, describe_part, head_tail_split

UCI = "https://archive.ics.uci.edu/dataset/235"
ROWS = 2_049_280  # without those with missing values
STEM = "household_power_consumption"
# Unpacked sums of parts that are known. Neither UCI nor the archive publishes any of the whole.
MD5 = {f"{STEM}_first37283": "0e336eb30d97521e7a09c28b6b1043cb"}


class Power(TabularFiles):
    """Six columns: active power in kW, voltage in V, three sub-meters in Wh, minute of the day.

    The preprocessing of Papamakarios et al. 2017: rows with missing values, the date, and columns
    1 and 3 (reactive power, current) of the archive's eight are dropped; rows are shuffled; noise
    of the width of the last digit is added, U(0, 0.01) to the voltage, U(0, 0.001) to the active
    power, U(0, 1) to the sub-meters and none to the time; the last tenth is for testing, the last
    tenth of the rest for validation; mean and deviation are those of both but the test. The archive
    is taken to hold UCI's rows in their order; then both sources give the same set.

    Args:
        root: folder that holds ``power`` or ``POWER``, with the archive's data.npy, or UCI's
            household_power_consumption.txt, or one household_power_consumption_*.txt, a part of
            it; or the .gz of a text. The md5 sum of a part is verified if it is known.
        seed, device, batch_size, evaluation_size, state: as for ``TabularFiles``, and its errors.
    """

    name = "power"

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        places = folders(root, "power")
        path = find(places, ("data.npy", f"{STEM}.txt", f"{STEM}.txt.gz")) or only_part(places)
        if path is None:
            wanted = f"data.npy, {STEM}.txt or {STEM}.txt.gz"
            raise missing_file_error(places[0], wanted, f"{UCI} or {MAF}", root)
        if path.suffix == ".npy":
            x = read_array(path, 8)
        else:
            sum_of_part = MD5.get(path.name.partition(".")[0])
            if sum_of_part is not None:
                check_unpacked_sum(path, sum_of_part)
            cells = TABLE.read(path)
            minute = 60 * cells[:, 0] + cells[:, 1]
            x = np.column_stack((cells[:, 3:], minute))
        word = "first " if path.name.startswith(f"{STEM}_first") else ""
        splits = head_tail_split(noisy(x), str(path))
        scaling = scaling or z_score(np.concatenate(splits[:2]), str(path))
        return describe_part(len(x), ROWS, word), splits, scaling


def numbers(line: str) -> str:
    """The cells of a line without its date, the time as three; nothing where one is missing."""
    _, found, cells = line.partition(";")
    cells = cells.strip().replace(":", ";")
    if not found:
        return line
    return "" if "?" in cells or ";;" in cells or cells.endswith(";") else cells


TABLE = Table(
    columns=(
        *("hour", "minute", "second"),
        *("Global_active_power", "Global_reactive_power", "Voltage", "Global_intensity"),
        *("Sub_metering_1", "Sub_metering_2", "Sub_metering_3"),
    ),
    delimiter=";",
    clean=numbers,
)


def only_part(places: tuple[Path, ...]) -> Path | None:
    """The one part that is there, or None.

    Raises:
        ValueError: if there are several.
    """
    parts = [
        path
        for folder in places
        for ending in ("txt", "txt.gz")
        for path in sorted(folder.glob(f"{STEM}_*.{ending}"))
    ]
    if len(parts) > 1:
        raise ValueError(f"{', '.join(map(str, parts))} are several parts; keep one of them there")
    return parts[0] if parts else None


def noisy(x: np.ndarray) -> np.ndarray:
    """Eight columns to six, shuffled and with noise. The draws come in the order of MAF's code, to
    give its rows and its noise.
    """
    draw, n = np.random.RandomState(SEED), len(x)
    x = x[draw.permutation(n)][:, [0, 2, 4, 5, 6, 7]]
    x[:, 1] += 0.01 * draw.rand(n)
    x[:, 0] += 0.001 * draw.rand(n)
    x[:, 2:5] += draw.rand(n, 3)
    return x
