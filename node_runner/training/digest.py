"""A digest over every byte of a checkpoint, at no noticeable cost.

torch writes a zip archive of uncompressed records, one per tensor, and the CRC-32 of each into the
archive's directory. So only the bytes *between* the contents of the records are left to be hashed:

    digest = SHA-256(archive without the contents of its records)

covers headers, padding and the directory, with it the sums of all records, and with those every
tensor. It stands in the archive's comment, which is the end of the file: whatever reads zip
archives, ``torch.load`` too, still reads the checkpoint.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from io import BytesIO
from typing import NamedTuple

__all__ = ["DamagedError", "add_digest", "is_archive", "verify"]

_MARK = b"node_runner sha256 "
_COMMENT = len(_MARK) + 2 * hashlib.sha256().digest_size
# Sizes and fields of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT: 4.3.7 local
# header, 4.3.12 directory entry, 4.3.14 end of a ZIP64 directory (which torch always writes),
# 4.3.15 its locator, 4.3.16 end of the directory.
_LOCAL = struct.Struct("<4s22xHH")  # mark, lengths of name and extra field
_ENTRY = struct.Struct("<4s6xH4xLLLHHH8xL")  # mark, method, crc, sizes, lengths, place
_END64 = struct.Struct("<4s36xQQ")  # mark, size and place of the directory
_LOCATOR, _END = 20, 22
_IN_EXTRA = 0xFFFFFFFF  # stands for a number of more than 32 bits, which the extra field holds


class DamagedError(ValueError):
    """Bytes that are not those that were written, and which."""


class _Record(NamedTuple):
    name: str
    start: int
    size: int
    crc: int


def is_archive(head: bytes) -> bool:
    """Whether a file that begins so may be an archive of torch."""
    return head.startswith(b"PK\x03\x04")


def add_digest(archive: BytesIO) -> None:
    """Add the digest to an archive that ``torch.save`` has just written."""
    with archive.getbuffer() as content:
        content[-2:] = struct.pack("<H", _COMMENT)
        digest = _digest(content, _records(content, len(content) - _END))
    archive.seek(0, 2)
    archive.write(_MARK + digest)


def verify(content: bytes) -> bool:
    """Check an archive against its digest, and each record against its sum.

    Returns:
        Whether there is a digest: earlier versions wrote none.

    Raises:
        DamagedError: naming what differs.
    """
    sealed = content[-_COMMENT:].startswith(_MARK)
    archive = memoryview(content)[: -_COMMENT if sealed else None]
    records = _records(archive, len(archive) - _END)
    if sealed and _digest(archive, records) != content[len(_MARK) - _COMMENT :]:
        raise DamagedError("its digest does not match")
    for name, start, size, crc in records:
        if zlib.crc32(archive[start : start + size]) != crc:
            raise DamagedError(f"the digest of {name} does not match")
    return sealed


def _digest(archive: memoryview, records: list[_Record]) -> bytes:
    """In hexadecimal, of all that lies between the contents of the records."""
    digest, end = hashlib.sha256(), 0
    for record in records:
        digest.update(archive[end : record.start])
        end = record.start + record.size
    digest.update(archive[end:])
    return digest.hexdigest().encode()


def _records(archive: memoryview, end: int) -> list[_Record]:
    """The records in the order of the file, as the directory lists them.

    Args:
        end: Where the end of the directory begins.

    Raises:
        DamagedError: if the archive is not laid out as torch does it.
    """
    try:
        return _walk(archive, end)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise DamagedError("its directory cannot be read") from None


def _walk(archive: memoryview, end: int) -> list[_Record]:
    end64 = end - _LOCATOR - 56
    if end64 < 0 or archive[end : end + 4] != b"PK\x05\x06":
        raise DamagedError("it is cut short")
    mark, size, at = _END64.unpack_from(archive, end64)
    if mark != b"PK\x06\x06" or at + size != end64:
        raise DamagedError("its directory is not where it should be")
    records, last, directory = [], 0, at
    while at < end64:
        mark, method, crc, packed, size, names, extras, comments, place = _ENTRY.unpack_from(
            archive, at
        )
        if mark != b"PK\x01\x02" or method != 0:
            raise DamagedError("its directory cannot be read")
        name = bytes(archive[at + 46 : at + 46 + names]).decode()
        extra = archive[at + 46 + names : at + 46 + names + extras]
        packed, size, place = _of_64_bits((packed, size, place), extra)
        mark, of_name, of_extra = _LOCAL.unpack_from(archive, place)
        start = place + _LOCAL.size + of_name + of_extra
        if mark != b"PK\x03\x04" or packed != size or place < last or start + size > directory:
            raise DamagedError(f"{name} is not where its directory says")
        records.append(_Record(name, start, size, crc))
        at, last = at + 46 + names + extras + comments, start + size
    return records


def _of_64_bits(numbers: tuple[int, int, int], extra: memoryview) -> tuple[int, ...]:
    """The numbers of an entry (4.5.3): a large one stands in the extra field, in this order."""
    packed, size, place = numbers
    if _IN_EXTRA not in numbers:
        return numbers
    long = iter(struct.unpack_from(f"<{(len(extra) - 4) // 8}Q", extra, 4))
    size = next(long, size) if size == _IN_EXTRA else size
    packed = next(long, packed) if packed == _IN_EXTRA else packed
    place = next(long, place) if place == _IN_EXTRA else place
    return packed, size, place
