"""Events of inhomogeneous Poisson processes whose intensity is known."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import intensities
from .intensities import Intensity
from .randomness import stream
from .sampler import IndexedData, check_positive
from .series import Series

GRID = 101  # times at which a batch tells the true intensity


class Events(NamedTuple):
    """What a model of events is trained and judged on. It is told ``observed`` alone.

    Attributes:
        observed: arrivals, of value 1, and behind them a mark of value 0 at the window's end, one
            feature: a reader so learns of the silence after the last event, and of that of a whole
            window without any, which is a series like the others. By the layout of a series, the
            last of its times is the window's end in every row.
        intensity: the true one, at the times of ``observed``, (B, T).
        integral: of the true one over the window, (B,).
        grid, curve: even times from 0 to the window's end, and the true intensity there, (B, G).
    """

    observed: Series
    intensity: Tensor
    integral: Tensor
    grid: Tensor
    curve: Tensor

    @property
    def arrivals(self) -> Tensor:
        """Which observations are events, (B, T)."""
        return arrivals(self.observed)

    @property
    def counts(self) -> Tensor:
        """Events of each series, (B,)."""
        return self.arrivals.sum(1)

    @property
    def end(self) -> Tensor:
        """Of the window, (B,)."""
        return self.observed.times[:, -1]


class EventData(IndexedData):
    """Events in [0, T), each series with an intensity of its own from one family
    (``data/intensities.py``): ``sine``, ``decay`` or ``bursts``.

    Args:
        family: of intensities.
        end: T.
        rate: events a unit of time, about; where there are few, some series have none.
        train_size, validation_size, test_size: series.
        batch_size: of training.
        evaluation_size: batch size of evaluation.

    Raises:
        ValueError: for a value out of range.
    """

    name, shape = "events", (1,)

    def __init__(
        self,
        seed: int,
        device: torch.device,
        family: intensities.Name = "sine",
        end: float = 5.0,
        rate: float = 12.0,
        train_size: int = 2000,
        validation_size: int = 200,
        test_size: int = 500,
        batch_size: int = 50,
        evaluation_size: int = 25,
    ) -> None:
        sizes = {"train": train_size, "validation": validation_size, "test": test_size}
        for option, value in (("end", end), ("rate", rate)):
            if not (value > 0 and isfinite(value)):
                raise ValueError(f"{option} is {value}, must be positive")
        check_positive(**{f"{split}_size": size for split, size in sizes.items()})
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.part, self.end = f"generated ({family})", end
        self.splits = {}
        for split, size in sizes.items():
            generator = stream(device, seed, split)
            intensity = intensities.draw(family, size, end, rate, generator)
            self.splits[split] = (intensity, *simulate(intensity, end, generator))

    def batch(self, split: str, indices: Tensor, step: int = 0) -> Events:
        """Return the series of these indices, padded to the longest of them."""
        intensity, times, counts = self.splits[split]
        intensity = type(intensity)(*(parameter[indices] for parameter in intensity))
        counts = counts[indices]
        observed = marked(times[indices, : int(counts.max()) + 1], counts)  # synchronises
        grid = torch.linspace(0, self.end, GRID, device=times.device).expand(len(indices), -1)
        return Events(
            observed,
            intensity.rate(observed.times),
            intensity.integral(observed.times[:, -1:])[:, 0],
            grid,
            intensity.rate(grid),
        )


def simulate(intensity: Intensity, end: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Arrivals in [0, T) by thinning (Lewis & Shedler 1979): of a homogeneous process of rate M >=
    lambda, each event t is kept with probability lambda(t) / M.

    All series at once: a series has Poisson(M T) candidates, uniform in the window.

    Args:
        intensity: of n series.
        end: T.

    Returns:
        Times, (n, m), increasing while a series lasts and T behind its end, where m is one more
        than any series has; and how many it has, (n,).
    """
    bound = intensity.bound()
    kind: dict[str, Any] = {"generator": generator, "device": bound.device}
    candidates = torch.poisson(bound * end, generator)
    shape = (len(bound), int(candidates.max()))  # synchronises
    times = end * torch.rand(shape, **kind)
    exists = torch.arange(shape[1], device=bound.device) < candidates
    times = torch.where(exists, times, inf).sort(1).values
    kept = torch.rand(shape, **kind) * bound < intensity.rate(times.clamp(max=end))
    # Rounding may put an event on another or on the end, about one in a million: it is dropped.
    kept &= (times < end) & (times.diff(dim=1, prepend=times.new_full((len(times), 1), -1)) > 0)
    counts = kept.sum(1)
    times = torch.where(kept, times, end).sort(1).values[:, : int(counts.max())]
    return torch.cat((times, torch.full_like(bound, end)), 1), counts


def marked(times: Tensor, counts: Tensor) -> Series:
    """The series of so many arrivals and the mark behind them; ``times`` (n, m) are the window's
    end from there on.
    """
    steps, counts = torch.arange(times.shape[1], device=times.device), counts[:, None]
    values, mask = (steps < counts).to(times.dtype), steps <= counts
    return Series(times, values[:, :, None], mask[:, :, None])


def arrivals(observed: Series) -> Tensor:
    """Which observations are events, not the mark of the window's end, (B, T)."""
    return observed.values[:, :, 0] > 0
