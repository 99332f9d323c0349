"""An unknown f of dx/dt = f(x), learned from observed points of trajectories."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data.series import Batch, Series
from ..data.trajectory import Trajectories
from ..ode import Solver, Stats
from ..training import Artifacts, Data, DatasetMetric, Evaluation, PrimaryMetric, TrainingStep
from ..trajectory import Dynamics, HorizonSchedule
from ..trajectory.plots import curve_times, draw_field, draw_states


class Trajectory(nn.Module):
    """Minimise the mean squared distance of the solutions of dx/dt = f(x), x(0) = x0, from all that
    is observed, over f and each trajectory's x0, in stretches that grow to the whole.

    The network has as many states, and there are as many x0, as the first batch shows: what the
    data are is known only when their file has been read.

    Args:
        field: D -> f(t, x), a module.
        solver: of training.
        eval_solver: of evaluation and pictures.
        horizon: over training.
    """

    primary_metric = PrimaryMetric("mse", "")

    def __init__(
        self,
        field: Callable[[int], nn.Module],
        solver: Solver,
        eval_solver: Solver,
        horizon: HorizonSchedule | None = None,
    ) -> None:
        super().__init__()
        self.make, self.solver, self.eval_solver = field, solver, eval_solver
        self.horizon = HorizonSchedule() if horizon is None else horizon
        self.register_module("dynamics", None)
        self.another = False  # trajectories than those learned, which begin where they were seen

    def bind(self, data: Data) -> None:
        """The data are trajectories, the same in training and test."""
        if not isinstance(data, Trajectories):
            raise ValueError(
                f"task=trajectory learns from data=trajectory or data=csv, not from {data.name}"
            )
        dynamics, self.another = self.begin(data.train_batch(0).observed), data.another
        if self.another:  # the parameter is the run's, of as many trajectories as it learned
            dynamics.start = nn.Parameter(dynamics.start.new_zeros(data.run["start"].shape))

    def begin(self, observed: Series) -> Dynamics:
        """The model, made for these trajectories at its first use."""
        if self.dynamics is None:
            field = self.make(observed.values.shape[2]).to(observed.values.device)
            self.dynamics = Dynamics(field, observed)
        return self.dynamics

    def step(self, batch: Batch) -> TrainingStep:
        """A training step on all trajectories, in stretches as long as the horizon; the loss is in
        units of each state's variance.
        """
        dynamics = self.begin(batch.observed)
        series = dynamics.units.inner(batch.target)
        length, end = self.horizon.step(series), series.times.max().item()
        u, target, stats = dynamics.predict_segments(self.solver, series, length, end)
        loss = ((u - target.values).square() * target.mask).sum() / target.mask.sum()
        return TrainingStep(loss, {"mse": loss, "horizon": torch.tensor(length / end)}, stats.nfe)

    def evaluate(self, batch: Batch, split: str) -> Evaluation:
        """Of each trajectory: mse, the mean squared error inside the observed time in units of each
        state's variance, so that none outweighs the others. Of all: root-mean-square errors inside
        and beyond, in the data's own units.
        """
        dynamics, end = self.begin(batch.observed), batch.target.times.shape[1]
        parts = [batch.target] if batch.beyond is None else [batch.target, batch.beyond]
        x, stats = self.predict(batch, torch.cat([part.times for part in parts], dim=1))
        errors = squares(batch.target, x[:, :end])
        scaled = (errors / dynamics.units.sd.square()).sum((1, 2))
        values = {"mse": scaled / batch.target.mask.sum((1, 2))}
        pooled = {"rmse": DatasetMetric(root_mean, summed(batch.target, errors))}
        if batch.beyond is not None:
            errors = squares(batch.beyond, x[:, end:])
            pooled["rmse_beyond"] = DatasetMetric(root_mean, summed(batch.beyond, errors))
        return Evaluation(values, {"nfe": stats.forward.nfe}, pooled)

    def predict(self, batch: Batch, times: Tensor) -> tuple[Tensor, Stats]:
        """x at times, (N, T, D), from the starts that were learned, or of other trajectories from
        the first values observed; and the cost.
        """
        dynamics = self.begin(batch.observed)
        start = dynamics.first(batch.observed) if self.another else None
        return dynamics.predict(self.eval_solver, times, start)

    def visualize(self, data: Trajectories) -> Artifacts:
        """States against time, and in the plane the field; errors of each state, where there are
        several; how far f is from the true one, where that is known.
        """
        (batch,) = data.batches("test")
        dynamics = self.begin(batch.observed)
        times = curve_times(batch)
        here = times.to(batch.observed.times).expand(len(batch.observed.times), -1)
        curves = self.predict(batch, here)[0].cpu()
        shown = Batch(*(part and Series(*(each.cpu() for each in part)) for part in batch[:3]))
        figures = {"states": draw_states(shown, times, curves, data.states, data.origin)}
        scalars = self.by_state(batch, data.states)
        fields = {"learned": lambda x: dynamics.rate(x.to(dynamics.start.device))}
        if data.system is not None:
            fields = {"true": data.system.f, **fields}
            scalars["field/error"] = field_error(dynamics.rate, data.system.f, batch.target)
        if data.shape == (2,):
            figures["field"] = draw_field(shown, times, curves, fields, data.states)
        return Artifacts(figures, scalars, {"times": times + data.origin, "states": curves})

    def by_state(self, batch: Batch, states: tuple[str, ...]) -> dict[str, float]:
        """Root-mean-square errors of each state where there are several, in its own unit."""
        if len(states) == 1:
            return {}
        found = {}
        for name, part in (("rmse", batch.target), ("rmse_beyond", batch.beyond)):
            if part is not None:
                errors = squares(part, self.predict(batch, part.times)[0])
                each = (errors.sum((0, 1)) / part.mask.sum((0, 1))).sqrt().tolist()
                found |= {f"{name}/{state}": e for state, e in zip(states, each, strict=True)}
        return found


def squares(series: Series, x: Tensor) -> Tensor:
    """Squared errors of x, (N, T, D), 0 where nothing is known."""
    return (series.values - x).square() * series.mask


def summed(series: Series, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the errors of each trajectory, and of how many, (N,) each."""
    return errors.sum((1, 2)), series.mask.sum((1, 2))


def root_mean(sums: Tensor, counts: Tensor) -> float:
    return (sums.double().sum() / counts.sum()).sqrt().item()


def field_error(learned: Callable, true: Callable, curve: Series) -> float:
    """sqrt(sum |f^ - f|^2 / sum |f|^2) over the true curve inside the observed time."""
    x = curve.values.flatten(0, 1)
    return ((learned(x) - true(x)).norm() / true(x).norm()).item()
