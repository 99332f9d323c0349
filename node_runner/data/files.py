"""Data files: where they lie and what they hold. What is wrong with one is told in one line that
names it.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TextIO

import numpy as np

UNPACKING = (gzip.BadGzipFile, EOFError, zlib.error)  # what a damaged .gz raises
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Byte order marks, the longer ones first: that of UTF-32 begins like that of UTF-16.
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
MARKS |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def folders(root: Path, name: str) -> tuple[Path, Path]:
    """Where a set may lie, in order: its name in lower case, then in upper case."""
    return root / name.lower(), root / name.upper()


def find(places: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of these names in the first folder that has one."""
    candidates = (folder / name for folder in places for name in names)
    return next((path for path in candidates if path.is_file()), None)


def missing_file_error(folder: Path, wanted: str, source: str, root: Path) -> FileNotFoundError:
    """Return the error for a ``folder`` under ``root`` that lacks its files.

    Args:
        wanted: Names of the files.
        source: Where they can be downloaded.
    """
    return FileNotFoundError(
        f"{folder} lacks {wanted}; place it there, from {source}, or set NODE_RUNNER_DATA or "
        f"paths.data to the folder that holds {folder.relative_to(root)}"
    )


def check_sum(path: Path, content: bytes, md5: str, remedy: str) -> None:
    """Refuse content with another sum.

    Raises:
        ValueError: with both sums and the remedy.
    """
    seen = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if seen != md5:
        raise ValueError(f"{path} is damaged: its md5 is {seen}, must be {md5}; {remedy}")


def _unpacked(path: Path) -> bytes:
    """Return the bytes of a file, or those that a .gz holds.

    Raises:
        ValueError: for a damaged .gz.
    """
    content = path.read_bytes()
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except UNPACKING as error:
        raise damaged(path, error) from error


def check_unpacked_sum(path: Path, md5: str) -> None:
    """``check_sum`` of what a file holds, packed or not: a .gz depends on who packed it."""
    content = _unpacked(path)
    check_sum(path, content, md5, "place a good copy there (the sum is of the unpacked file)")


def damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is damaged: it cannot be unpacked ({error}); place a good copy there"
    )


def open_text(path: Path) -> TextIO:
    """Open a text file, packed or not; bytes that are not UTF-8 become replacement characters."""
    open_it = gzip.open if path.suffix == ".gz" else open
    return open_it(path, "rt", encoding="utf-8", errors="replace")


def read_text(path: Path) -> str:
    """The text of a file, or of a .gz: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    Raises:
        ValueError: naming the line of the first byte that is not text, or for a damaged .gz.
    """
    content = _unpacked(path)
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8-sig")
    remedy = "save the table as UTF-8 text (CSV UTF-8)"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start] if error.start < len(content) else 0
        name = encoding.removesuffix("-sig").upper()
        raise ValueError(
            f"{path}, line {line}: byte 0x{byte:02x} is not {name}; {remedy}"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ValueError(
            f"{path}, line {line}: a NUL character, as in UTF-16 without its byte order mark; "
            f"{remedy}"
        )
    return text


@dataclass(frozen=True)
class Table:
    """How a text file holds numbers.

    Attributes:
        columns: their names.
        delimiter: between cells; None is any white space.
        header: lines to pass over.
        clean: from a line to what is parsed of it; where that is empty the line is passed over.
        wider: whether there may be further columns, which are not read.
        max_rows: that are read.
    """

    columns: Sequence[str]
    delimiter: str | None = None
    header: int = 1
    clean: Callable[[str], str] = str
    wider: bool = False
    max_rows: int | None = None

    def read(self, path: Path) -> np.ndarray:
        """The numbers of a file, or of its .gz, (rows, columns) in float64.

        Raises:
            ValueError: naming the line and the column of the first cell that is no finite number,
                the first line of another length, or the file if it is empty or damaged.
        """
        width = len(self.columns)
        try:
            with open_text(path) as file, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an empty file is refused below
                x = np.loadtxt(
                    map(self.clean, islice(file, self.header, None)),
                    delimiter=self.delimiter,
                    comments=None,
                    usecols=range(width) if self.wider else None,
                    max_rows=self.max_rows,
                    ndmin=2,
                )
        except UNPACKING as error:
            raise damaged(path, error) from error
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(self._fault(path) or f"{path} cannot be read: {reason}") from None
        if len(x) == 0:
            raise ValueError(f"{path} holds no rows below its {self.header} lines of header")
        if x.shape[1] != width or not np.isfinite(x).all():
            raise ValueError(self._fault(path))
        return x

    def _fault(self, path: Path) -> str | None:
        """The first thing in a file that is not as it should be. numpy's reader is fast but does
        not say where it stopped, so that a bad file is read again, slowly.
        """
        width = len(self.columns)
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                text = self.clean(line)
                if number <= self.header or not text.strip():
                    continue
                cells = text.split(self.delimiter)
                if len(cells) < width or (len(cells) > width and not self.wider):
                    return (
                        f"{path}, line {number}: {len(cells)} cells, must be {width} "
                        f"({', '.join(self.columns)})"
                    )
                for column, cell in zip(self.columns, cells, strict=False):
                    if not is_number(cell):
                        return (
                            f"{path}, line {number}, column {column}: {cell.strip()!r} is no "
                            "finite number"
                        )
        return None


def is_number(cell: str) -> bool:
    """Whether a cell is a finite decimal number in ASCII; float() alone would also read 1_000 and
    the digits of other scripts.
    """
    return NUMBER.fullmatch(cell.strip(" \t\r\n")) is not None and isfinite(float(cell))


def read_array(path: Path, columns: int | None = None) -> np.ndarray:
    """The array of a .npy file, (rows, columns) in float64.

    Raises:
        ValueError: for another kind of file, and as ``check_array``.
    """
    with path.open("rb") as file:
        try:
            x = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # numpy raises TokenError, MemoryError and others for headers
            raise not_npy(path, "numbers", error) from error
    check_array(x, str(path), columns)
    return x.astype(np.float64, copy=False)


def not_npy(path: Path, what: str, error: Exception) -> ValueError:
    """What to say of a file that is not a .npy, or not whole."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return ValueError(f"{path} is no whole .npy file of {what} ({reason})")


def check_array(x: np.ndarray, source: str, columns: int | None = None) -> None:
    """Refuse all but finite numbers of shape (rows, columns).

    Raises:
        ValueError: for another shape or type, and for the first NaN or infinite value.
    """
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{source} holds values of type {x.dtype}, must be real numbers")
    if x.ndim != 2 or (x.shape[1] != columns if columns else x.shape[1] < 1):
        wanted = columns or "columns"
        raise ValueError(f"{source} has shape {list(x.shape)}, must be [rows, {wanted}]")
    if len(x) == 0:
        raise ValueError(f"{source} holds no rows")
    finite = np.isfinite(x)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise ValueError(
            f"{source}, row {row}, column {column} (the first are 0): {x[row, column]} is no "
            "finite number"
        )
