"""TensorBoard events, metrics.jsonl and pictures of one run."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.utils.tensorboard.summary import hparams

from ..disk import AppendOnlyFile, from_json, open_regular, to_json, write_whole
from .event_file import EventFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

log = logging.getLogger(__name__)

DPI = 150  # of pictures


class Logger:
    """Writes to ``folder``: ``tb/`` for TensorBoard, ``metrics.jsonl``, ``figures/`` (PNG, GIF),
    ``arrays/*.npy``.

    metrics.jsonl is what counts: TensorBoard's curves are made from it again when a run is resumed.
    A point is on both at once, and a file of numbers or of a picture is whole or absent.

    Args:
        folder: Folder of the run.
        resume_at: Step from which a run is resumed; later points are dropped.
        points: Number of points that there were then; those that follow were made by what came
            after training, and are dropped too. (None: unknown.)

    Attributes:
        points: Number of points until now.
    """

    def __init__(
        self, folder: Path, resume_at: int | None = None, points: int | None = None
    ) -> None:
        self.folder = folder
        path = folder / "metrics.jsonl"
        kept = None if resume_at is None else _points(path, resume_at)[:points]
        self.points = len(kept or ())
        if kept is not None:
            write_whole(path, "".join(to_json(point) + "\n" for point in kept))
            if points is not None and len(kept) < points:
                log.warning("%s has lost %d of its %d points", path, points - len(kept), points)
        self._lines = AppendOnlyFile(path)
        self._events = EventFile(folder / "tb", kept)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write one point of each curve.

        Raises:
            OSError: as all methods do, naming the file, if there is no room for it.
        """
        point = {"step": step, "time": round(time.time(), 3), **values}
        self._lines.append((to_json(point) + "\n").encode())
        self.points += 1
        self._events.point(point)

    def figure(self, name: str, figure: Figure, step: int) -> Path:
        """Write a picture, as PNG and in TensorBoard. Returns the file."""
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
        path = self._write("figures", f"{name}.png", content)
        self._events.image(name, content.getvalue(), step)
        return path

    def array(self, name: str, array: Tensor) -> Path:
        """Write numbers behind a picture, as ``arrays/<name>.npy``. Returns the file."""
        content = io.BytesIO()
        np.save(content, array.cpu().numpy())
        return self._write("arrays", f"{name}.npy", content)

    def animation(self, name: str, frames: Sequence[Image]) -> Path:
        """Write frames as ``figures/<name>.gif``, 10 per second, in a loop. Returns the file."""
        content, more = io.BytesIO(), frames[1:]
        frames[0].save(content, "GIF", save_all=True, append_images=more, duration=100, loop=0)
        return self._write("figures", f"{name}.gif", content)

    def _write(self, folder: str, name: str, content: io.BytesIO) -> Path:
        path = self.folder / folder / name
        path.parent.mkdir(exist_ok=True)
        write_whole(path, content.getbuffer())
        return path

    def hparams(self, options: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Write the options that distinguish this run, and final metrics, for TensorBoard's table
        of hyperparameters, into the run's own event file (``add_hparams`` would open a second run).
        """
        plain = {k: v if isinstance(v, (bool, int, float)) else str(v) for k, v in options.items()}
        for summary in hparams(plain, dict(metrics)):
            self._events.summary(summary)

    def flush(self) -> None:
        """Wait until the points are on the disk."""
        self._lines.sync()

    def close(self) -> None:
        self._events.close()
        self._lines.close()


def _points(path: Path, step: int) -> list[dict[str, Any]]:
    """The points of metrics.jsonl up to a step. A line that is not one is left out: a run that was
    killed may have cut the last, and a file may have been written to by others.
    """
    try:
        with open_regular(path) as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            point = from_json(line)
        except ValueError:  # a UnicodeDecodeError is one
            continue
        if _is_point(point) and point["step"] <= step:
            found.append({tag: nan if value is None else value for tag, value in point.items()})
    return found


def _is_point(point: object) -> bool:
    if not isinstance(point, dict):
        return False
    step = point.get("step")
    numbers = all(value is None or isinstance(value, int | float) for value in point.values())
    return numbers and isinstance(step, int) and 0 <= step < 2**63
