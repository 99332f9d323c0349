"""TensorBoard events, metrics.jsonl and pictures of one run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from .files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


class Logger:
    """Writes to ``folder``: ``tb/`` for TensorBoard, ``metrics.jsonl``, ``figures/`` (PNG, GIF),
    ``arrays/*.npy``.

    Args:
        resume_at: the step from which a run goes on; what was recorded after it is dropped.
    """

    def __init__(self, folder: Path, resume_at: int | None = None) -> None:
        self.folder = folder
        purge = None
        if resume_at is not None:
            purge = resume_at + 1
            drop_after(folder / "metrics.jsonl", resume_at)
        self.writer = SummaryWriter(str(folder / "tb"), purge_step=purge)
        self.lines = open(folder / "metrics.jsonl", "a", 1, encoding="utf-8")  # by lines

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each curve."""
        for tag, value in values.items():
            self.writer.add_scalar(tag, value, step)
        record = {"step": step, "time": round(time.time(), 3), **values}
        self.lines.write(json.dumps(record) + "\n")

    def figure(self, name: str, figure: Figure, step: int) -> Path:
        """A picture, as PNG and in TensorBoard. Returns the file."""
        path = self.folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=150)
        self.writer.add_figure(name, figure, step)  # closes it
        return path

    def array(self, name: str, array: Tensor) -> Path:
        """Numbers behind a picture, as ``arrays/<name>.npy``. Returns the file."""
        path = self.folder / "arrays" / f"{name}.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, array.cpu().numpy())
        return path

    def animation(self, name: str, frames: Sequence[Image]) -> Path:
        """Frames as ``figures/<name>.gif``, 10 a second, for ever. Returns the file."""
        path = self.folder / "figures" / f"{name}.gif"
        path.parent.mkdir(exist_ok=True)
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)
        return path

    def hparams(self, options: Mapping[str, object], metrics: Mapping[str, float]) -> None:
        """Options and final metrics for TensorBoard's table, in the run's own event file
        (``add_hparams`` would open a second run beside it).
        """
        plain = {k: v if isinstance(v, (bool, int, float)) else str(v) for k, v in options.items()}
        for summary in hparams(plain, dict(metrics)):
            self.writer.file_writer.add_summary(summary)

    def flush(self) -> None:
        self.writer.flush()
        self.lines.flush()

    def close(self) -> None:
        self.flush()
        self.writer.close()
        self.lines.close()


def drop_after(path: Path, step: int) -> None:
    """Keep the lines of metrics.jsonl up to a step; a run that was killed may have cut the last."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            continue
    write_whole(path, "".join(kept))
