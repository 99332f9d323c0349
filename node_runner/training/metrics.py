"""Running means on the device, and means with standard errors of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import nan, sqrt

import torch
from torch import Tensor

from .randomness import unchanged_randomness
from .task import Data, DatasetMetric, Evaluation, Task

__all__ = ["Means", "Summary", "evaluate", "summarise"]

Summary = dict[str, dict[str, float]]


@dataclass
class Means:
    """Running means of named 0-dim tensors and numbers; one read of the device for all of them."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    numbers: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, tensors: dict[str, Tensor], numbers: dict[str, float]) -> None:
        self.count += 1
        for name, value in tensors.items():
            value = value.detach().double()
            self.tensors[name] = self.tensors[name] + value if name in self.tensors else value
        for name, number in numbers.items():
            self.numbers[name] = self.numbers.get(name, 0.0) + number

    def finite(self) -> bool:
        """Return whether all tensors since the last read are finite; one read of the device."""
        sums = list(self.tensors.values())
        return not sums or bool(torch.stack(sums).isfinite().all())

    def read(self) -> dict[str, float]:
        """Return the means since the last read."""
        sums = dict(self.numbers)
        if self.tensors:
            values = torch.stack(list(self.tensors.values())).tolist()  # synchronises
            sums.update(zip(self.tensors, values, strict=True))
        means = {name: value / self.count for name, value in sums.items()}
        self.tensors, self.numbers, self.count = {}, {}, 0
        return means


@torch.no_grad()
def evaluate(task: Task, data: Data, split: str) -> Summary:
    """Return mean and standard error of every metric over a split, cost averaged over its batches.

    Evaluation uses a fixed seed and restores the global random state afterwards.
    """
    task.eval()
    with unchanged_randomness(0):
        return summarise(task.evaluate(batch, split) for batch in data.batches(split))


def summarise(evaluations: Iterable[Evaluation]) -> Summary:
    """Return mean, standard error of the mean and number of samples of each metric; mean of each
    cost; each pooled metric of all samples, under "mean" too.
    """
    values: dict[str, list[Tensor]] = {}
    costs: dict[str, list[float]] = {}
    pooled: dict[str, list[DatasetMetric]] = {}
    for evaluation in evaluations:
        for name, value in evaluation.values.items():
            values.setdefault(name, []).append(value.detach().double())
        for name, cost in evaluation.costs.items():
            costs.setdefault(name, []).append(cost)
        for name, part in evaluation.pooled.items():
            pooled.setdefault(name, []).append(part)
    summary: Summary = {}
    for name, parts in values.items():
        all_values = torch.cat(parts)
        n = len(all_values)
        error = all_values.std().item() / sqrt(n) if n > 1 else nan
        summary[name] = {"mean": all_values.mean().item(), "standard_error": error, "n": n}
    for name, numbers in costs.items():
        summary[name] = {"mean": sum(numbers) / len(numbers)}
    for name, some in pooled.items():
        parts = [torch.cat(part) for part in zip(*(part.parts for part in some), strict=True)]
        summary[name] = {"mean": some[0].of(*parts), "n": len(parts[0])}
    return summary
