"""Image classification."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nets import with_solver
from ..ode import Solver, profile_solve
from ..odenet import Classified, ODENet
from ..training import Artifacts, Data, Evaluation, PrimaryMetric, TrainingStep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Batch = tuple[Tensor, Tensor]

SHOWN = 24  # mistakes in the picture


class Classification(nn.Module):
    """Minimise the cross-entropy of logits.

    Args:
        model: an ODE-net, or a plain network from images to logits (B, classes), which costs no
            evaluations and logs none.
        eval_solver: of an ODE-net's evaluation, whose evaluations are counted apart from those of
            training.
        measured: test images on which an ODE-net's solve is measured in the end: error, evaluations
            and time (Chen et al. 2018, figure 3); 0 for none.
    """

    primary_metric = PrimaryMetric("error", "%", 100.0)

    def __init__(self, model: nn.Module, eval_solver: Solver, measured: int = 100) -> None:
        super().__init__()
        if measured < 0:
            raise ValueError(f"measured is {measured}, must be 0 or more")
        self.model, self.eval_solver, self.measured = model, eval_solver, measured

    def bind(self, data: Data) -> None:
        """The data are labelled images, and the model has an answer for each class."""
        batch = next(iter(data.batches("test")))
        if not hasattr(data, "classes") or not isinstance(batch, tuple) or len(batch) != 2:
            raise ValueError(
                f"{data.name} has no labelled images to classify: leave out data=, or choose "
                "data=mnist"
            )
        images, _ = batch
        with torch.no_grad():
            answers = self.classify(images[:1]).logits.shape[1]
        if answers != data.classes:
            raise ValueError(
                f"the model chooses among {answers} classes and {data.name} has {data.classes}: "
                f"set model.head.classes={data.classes}"
            )

    def step(self, batch: Batch) -> TrainingStep:
        """batch: images (B, 1, H, W) and labels (B,)."""
        images, labels = batch
        logits, stats = classified(self.model(images))
        loss = F.cross_entropy(logits, labels)
        accuracy = (logits.argmax(1) == labels).float().mean()
        return TrainingStep(
            loss=loss,
            metrics={"accuracy": accuracy},
            costs=dict if stats is None else stats.nfe,  # dict: none
        )

    def classify(self, images: Tensor) -> Classified:
        if isinstance(self.model, ODENet):
            return with_solver(self.model, self.eval_solver)(images)
        return classified(self.model(images))

    def evaluate(self, batch: Batch, split: str) -> Evaluation:
        """Cross-entropy and error (0 or 1) of each image."""
        images, labels = batch
        logits, stats = self.classify(images)
        values = {
            "nll": F.cross_entropy(logits, labels, reduction="none"),
            "error": (logits.argmax(1) != labels).double(),
        }
        return Evaluation(values, {} if stats is None else {"nfe": stats.forward.nfe})

    def visualize(self, data: Data) -> Artifacts:
        """The first test images that are classified wrongly, and what a solve costs."""
        wrong: list[tuple[Tensor, int, int]] = []
        for images, labels in data.batches("test"):
            answers = self.classify(images).logits.argmax(1)
            for i in torch.nonzero(answers != labels).flatten().tolist():
                wrong.append((images[i, 0].cpu(), int(labels[i]), int(answers[i])))
            if len(wrong) >= SHOWN:
                break
        return Artifacts({"mistakes": draw_mistakes(wrong[:SHOWN])}, self.measure_solve(data))

    def measure_solve(self, data: Data) -> dict[str, float]:
        """The solve of the first test images at the tolerances of evaluation, its gradient taken as
        in training.
        """
        if not isinstance(self.model, ODENet) or not self.measured:
            return {}
        net, (images, labels) = self.model, next(iter(data.batches("test")))
        images, labels = images[: self.measured], labels[: self.measured]
        found = profile_solve(
            self.eval_solver,
            net.field,
            net.stem(images),
            [0.0, net.end_time],
            net.solver.gradient,
            loss=lambda y: F.cross_entropy(net.head(y), labels),
        )
        return {f"solve/{name}": value for name, value in found.items()}


def classified(answer: Classified | Tensor) -> Classified:
    """What an ODE-net answers, or a plain network's logits."""
    return answer if isinstance(answer, Classified) else Classified(answer, stats=None)


def draw_mistakes(wrong: list[tuple[Tensor, int, int]]) -> Figure:
    """Draw images, each titled "true class: predicted class"."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    figure.suptitle("First errors on the test set (true class: predicted class)")
    axes = list(figure.subplots(3, SHOWN // 3).flat)
    for axis in axes:
        axis.axis("off")
    for axis, (image, label, answer) in zip(axes, wrong, strict=False):
        axis.imshow(image.numpy(), cmap="gray_r")
        axis.set_title(f"{label}: {answer}", fontsize=9)
    return figure
