"""Protocols of a task and of data, as the trainer uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Batch = Any  # what a data set yields and its task understands


@dataclass(frozen=True)
class TrainingStep:
    """One training step up to its loss.

    Attributes:
        loss: 0-dim, to be minimised.
        metrics: 0-dim tensors without graph, by tag; a tag without a slash is shown under train/.
        costs: read after the backward pass, so that what that pass spent is known: tag to number.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    costs: Callable[[], dict[str, float]]


class DatasetMetric(NamedTuple):
    """A metric of a whole split that is no mean over its samples, such as the area under a curve.

    Attributes:
        of: (the parts, each whole) -> the metric.
        parts: tensors of this batch, (B,) each.
    """

    of: Callable[..., float]
    parts: tuple[Tensor, ...]


@dataclass(frozen=True)
class Evaluation:
    """One batch of an evaluation.

    Attributes:
        values: (B,) by metric, one number a sample, so that a standard error can be given.
        costs: numbers of the whole batch, averaged over batches, such as nfe.
        pooled: by metric, what cannot be averaged.
    """

    values: dict[str, Tensor]
    costs: dict[str, float]
    pooled: dict[str, DatasetMetric] = field(default_factory=dict)


class PrimaryMetric(NamedTuple):
    """The metric that sums a task up, its unit, and the factor from its value to that unit."""

    metric: str
    unit: str
    factor: float = 1.0


@dataclass
class Artifacts:
    """What a task has to show: figures, further numbers, arrays to be read again, and the frames of
    animations, by name.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)
    animations: dict[str, list[Image]] = field(default_factory=dict)


class Task(Protocol):
    """A model with its objective: an nn.Module."""

    primary_metric: PrimaryMetric

    def bind(self, data: Data) -> None:
        """Configure the task for a data set (number of classes, of bits, of states, steps per
        epoch), and check that model and data fit, before any work.

        Raises:
            ValueError: If they do not; the message names what to change.
        """

    def step(self, batch: Batch) -> TrainingStep:
        """The loss of a training batch."""

    def evaluate(self, batch: Batch, split: str) -> Evaluation:
        """Metrics of a batch of "validation" or "test", sample by sample; called without
        gradients.
        """

    def visualize(self, data: Data) -> Artifacts:
        """Pictures of what has been learned; called without gradients. A task may have ``sample``
        beside it, which mode=sample calls instead, for more and for what takes longer.
        """

    # Of nn.Module.
    parameters: Callable[[], Iterator[nn.Parameter]]
    train: Callable[[], object]
    eval: Callable[[], object]
    state_dict: Callable[[], dict[str, Any]]
    load_state_dict: Callable[[Mapping[str, Any]], object]


class Data(Protocol):
    """A data set on its device.

    Attributes:
        name, part: what it is and which part of it is used ("whole", "generated", "first 10000").
        shape: of one sample.
        sizes: samples by split, where that is a number.
        steps_per_epoch: training batches in an epoch.

    Further attributes are read by the tasks that need them, where a data set has them: ``classes``,
    the number of labels; ``bits``, of the integers that pixels are; ``states``, names of the
    features of a trajectory; ``scaling``, from the units of the files to those of the model.

    A data set that depends on statistics of its rows has ``state_dict()`` beside these, tensors and
    plain values that go into the run's checkpoint, and takes them as ``state`` when it is made for
    a run that is evaluated or resumed: other rows are then seen as the run saw its own.
    """

    name: str
    part: str
    shape: tuple[int, ...]
    sizes: dict[str, int]
    steps_per_epoch: int

    def train_batch(self, step: int) -> Batch:
        """The batch of a step, a function of the seed and the step alone: to resume is to go on."""

    def batches(self, split: str) -> Iterator[Batch]:
        """ "validation" or "test", the same each time."""
