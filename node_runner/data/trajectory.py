"""Trajectories of an autonomous system, observed at irregular times: of a known one here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import nan
from typing import Any

import torch
from torch import Tensor

from .randomness import stream
from .series import Batch, Series, full, window
from .systems import SYSTEMS, Name, System

INSIDE, BEYOND = 200, 100  # times of the true curve
MIN_TIMES = 2  # with one, nothing is known of dx/dt


class Trajectories:
    """N trajectories of the same D states, all of them in every batch, in their own units and in
    float64: what is taken off before it becomes float32 is for the model to say.

    Args:
        name, part: of the set.
        states: names of the states.
        splits: by "train", "validation" and "test"; what is observed is the same in all, and the
            target of "train" is what is observed.
        origin: what the user calls time 0.
        system: whose trajectories they are, where that is known.
        start: where each trajectory begins, (N, D), nan where that is not observed.
        run: ``state_dict()`` of the run that is evaluated or resumed.
        another: whether they are other trajectories than those of that run.

    Raises:
        ValueError: for a trajectory of less than two observed times, or a state never observed.
    """

    steps_per_epoch = 1

    def __init__(
        self,
        name: str,
        part: str,
        states: tuple[str, ...],
        splits: dict[str, Batch],
        origin: float = 0.0,
        system: System | None = None,
        start: Tensor | None = None,
        run: Mapping[str, Any] | None = None,
        another: bool = False,
    ) -> None:
        splits = {split: batch.to(torch.float64) for split, batch in splits.items()}
        self.name, self.part, self.states, self.splits = name, part, states, splits
        self.origin, self.system, self.shape = origin, system, (len(states),)
        observed = splits["train"].observed
        self.another = another
        if run is None:
            start = torch.full((len(observed.times), len(states)), nan) if start is None else start
            run = {"states": list(states), "origin": origin, "start": start}
        self.run = dict(run)
        self.sizes = dict.fromkeys(splits, len(observed.times))
        if int(observed.lengths.min()) < MIN_TIMES:
            raise ValueError(
                f"{name}: trajectory {int(observed.lengths.argmin())} is observed "
                f"{int(observed.lengths.min())} times, must be at least {MIN_TIMES}"
            )
        seen = observed.mask.any(1).any(0)
        if not bool(seen.all()):
            raise ValueError(f"{name}: {states[int(seen.int().argmin())]} is never observed")

    def state_dict(self) -> dict[str, Any]:
        """What belongs to a run that learns from these, whatever it is evaluated on: the names of
        the states, the origin of time, and where the trajectories begin.
        """
        return dict(self.run)

    def train_batch(self, step: int) -> Batch:
        """All that is observed, whatever the step: times cost nothing, the solve is the same."""
        return self.splits["train"]

    def batches(self, split: str) -> Iterator[Batch]:
        """All that is observed, and what is asked for."""
        yield self.splits[split]


class Simulated(Trajectories):
    """Trajectories of a known system, observed with noise: at time 0, and at times drawn from
    [0, observed_until]. Validation asks for further observations of that kind, the test for the
    curve without noise, inside and up to ``end``.

    Args:
        system: one of ``systems.SYSTEMS``.
        observations: times at which each trajectory is observed.
        noise: standard deviation, in units of each state's own along the curve, so that one number
            suits populations and temperatures.
        trajectories: N; the first starts where the system's own does.
        missing: share of the values that are dropped at random; a time without any is dropped.
        observed_until: end of what is observed; the system's own unless given.
        end: up to where the test asks for the curve, half as long again unless given.
        state: ``state_dict()`` of the run that is evaluated or resumed: trajectories that begin
            elsewhere are other ones.

    Raises:
        ValueError: for a value out of range, and if too much is missing.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        system: Name = "spiral",
        observations: int = 200,
        noise: float = 0.02,
        trajectories: int = 1,
        missing: float = 0.0,
        observed_until: float | None = None,
        end: float | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if system not in SYSTEMS:
            raise ValueError(f"system is {system!r}; choose from {', '.join(SYSTEMS)}")
        known = SYSTEMS[system]
        until = known.until if observed_until is None else observed_until
        end = 1.5 * until if end is None else end
        check_range(observations, noise, trajectories, missing, until, end)
        starts = draw_starts(known, trajectories, stream(device, seed, "starts"))
        inside = torch.linspace(0, until, INSIDE, dtype=torch.float64).tolist()
        beyond = torch.linspace(until, end, BEYOND + 1, dtype=torch.float64)[1:].tolist()
        curve = solve(known, starts, [inside + beyond] * trajectories)
        curve = Series(*(part.to(device) for part in curve))
        target, later = cut(curve, 0, INSIDE), cut(curve, INSIDE, INSIDE + BEYOND)
        sd = noise * target.values.std(dim=(0, 1))
        observed, others = (
            observe(known, starts, observations, until, sd, missing, stream(device, seed, split))
            for split in ("train", "validation")
        )
        splits = {
            "train": Batch(observed, observed),
            "validation": Batch(observed, others),
            "test": Batch(observed, target, later),
        }
        another = state is not None and not torch.equal(state["start"].to(starts), starts)
        own: dict[str, Any] = {"system": known, "start": starts, "run": state, "another": another}
        super().__init__(system, "generated", known.states, splits, **own)


def check_range(
    observations: int, noise: float, trajectories: int, missing: float, until: float, end: float
) -> None:
    """Refuse values out of range, by name."""
    for name, value, low in (
        ("observations", observations, MIN_TIMES),
        ("trajectories", trajectories, 1),
    ):
        if value < low:
            raise ValueError(f"{name} is {value}, must be at least {low}")
    if noise < 0:
        raise ValueError(f"noise is {noise}, must not be negative")
    if not 0 <= missing < 1:
        raise ValueError(f"missing is {missing}, must be from 0 to below 1")
    if not until > 0:
        raise ValueError(f"observed_until is {until}, must be positive")
    if not end > until:
        raise ValueError(f"end is {end}, must be later than observed_until, {until}")


def draw_starts(system: System, count: int, generator: torch.Generator) -> Tensor:
    """x(0) of each trajectory, (N, D) in float64: the system's own, then some of its line."""
    one, two = torch.tensor(system.starts, dtype=torch.float64)
    place = torch.rand(count, 1, generator=generator, device=generator.device).cpu().double()
    starts = torch.lerp(one, two, place)
    starts[0] = torch.tensor(system.start, dtype=torch.float64)
    return starts


def solve(system: System, starts: Tensor, times: list[list[float]]) -> Series:
    """Each trajectory at its times, without noise."""
    pairs = zip(starts.tolist(), times, strict=True)
    values = torch.tensor([system.solve(tuple(start), ts) for start, ts in pairs])
    return full(torch.tensor(times), values)


def observe(
    system: System,
    starts: Tensor,
    count: int,
    until: float,
    sd: Tensor,
    missing: float,
    generator: torch.Generator,
) -> Series:
    """Noisy observations at time 0 and ``count`` - 1 random ones, less what is missing."""
    kind: dict[str, Any] = {"generator": generator, "device": generator.device}
    times = until * torch.rand(len(starts), count, **kind)
    times[:, 0] = 0
    curve = solve(system, starts, times.sort(dim=1).values.tolist())
    curve = Series(*(part.to(generator.device) for part in curve))
    values = curve.values + sd * torch.randn(curve.values.shape, **kind)
    mask = torch.rand(values.shape, **kind) >= missing
    empty = (mask.sum((1, 2)) == 0).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"missing is {missing}: it leaves nothing of trajectory {empty[0]}; lower it, or "
            "have more observations"
        )
    return window(Series(curve.times, values * mask, mask), 0.0, 2 * until)


def cut(series: Series, first: int, end: int) -> Series:
    """The observations of these indices."""
    return Series(*(part[:, first:end] for part in series))
