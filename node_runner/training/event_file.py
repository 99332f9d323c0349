"""TensorBoard's event file of a run."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from ..disk import PARTIAL, AppendOnlyFile, write_whole

__all__ = ["EventFile"]

_NAME = "events.out.tfevents."
_RGBA = 4


class EventFile:
    """One event file in a folder, written without a thread: what has been written is there, and a
    disk that is full is noticed by the one who writes.

    TensorBoard reads the files of a folder by name, in which the time stands first. So that a clock
    that went back does not matter, a file is named later than those that are there. When a run is
    resumed they are replaced: their curves are written anew, as metrics.jsonl has them.

    Args:
        folder: Where it lies; made if it is absent.
        points: What metrics.jsonl holds, if the run is resumed.
    """

    def __init__(self, folder: Path, points: Iterable[Mapping[str, Any]] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        former = sorted(folder.glob(f"{_NAME}*"))
        number = max([int(time.time()), *(1 + _number(file) for file in former)])
        path = folder / f"{_NAME}{number:010d}.{socket.gethostname()}.{os.getpid()}.0"
        first = [Event(file_version="brain.Event:2", wall_time=time.time())]
        if points is not None:  # one that reads on forgets all that it has read
            first.append(Event(session_log=SessionLog(status=SessionLog.START)))
            first += map(_event_of_point, points)
        # TensorBoard takes any name with "tfevents" in it for a file to read.
        started = folder / f"curves{PARTIAL}"
        write_whole(started, b"".join(map(_record, first)))
        os.replace(started, path)
        self._file = AppendOnlyFile(path)
        for file in former if points is not None else ():
            file.unlink()

    def point(self, point: Mapping[str, Any]) -> None:
        """Write one point of each curve: a line of metrics.jsonl."""
        self._file.append(_record(_event_of_point(point)))

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Write a picture."""
        width, height = struct.unpack(">II", png[16:24])  # the header of a PNG
        image = Summary.Image(
            height=height, width=width, colorspace=_RGBA, encoded_image_string=png
        )
        summary = Summary(value=[Summary.Value(tag=tag, image=image)])
        self._file.append(_record(Event(step=step, wall_time=time.time(), summary=summary)))

    def summary(self, summary: Summary) -> None:
        self._file.append(_record(Event(wall_time=time.time(), summary=summary)))

    def close(self) -> None:
        self._file.close()


def _event_of_point(point: Mapping[str, Any]) -> Event:
    values = [
        Summary.Value(tag=tag, simple_value=value)
        for tag, value in point.items()
        if tag not in ("step", "time")
    ]
    when = point.get("time")
    when = when if isinstance(when, int | float) else 0.0
    return Event(step=point["step"], wall_time=when, summary=Summary(value=values))


def _record(event: Event) -> bytes:
    content = io.BytesIO()
    RecordWriter(content).write(event.SerializeToString())
    return content.getvalue()


def _number(file: Path) -> int:
    """The time in the name of a file; 0 if there is none."""
    number = file.name.removeprefix(_NAME).partition(".")[0]
    return int(number) if number.isdecimal() else 0
