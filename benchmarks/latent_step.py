"""One training step of the latent ODEs of spirals and of PhysioNet: forward, loss and backward.

The peer is the same model, with the same weights, on torchdiffeq's odeint and organised as the
released code of Rubanova et al. 2019: all series of a batch lie on the union of their times, with
masks, so that the encoder takes a step at each of them, an Euler step before it if it is an
ODE-RNN; one dopri5 solve gives the latent states, which are all decoded. Its masked likelihood is
vectorised here, where the released code loops over series and features, which favours the peer.

The second table solves the latent ODE of PhysioNet by two ways to reconcile times: one solve over
their union (ours), and a solve from each observation to the next with time rescaled for each
series. The third, and the plot under ``--out``, is the time of a step against the number of
observations of a series.

    python -m benchmarks.latent_step --root DATA --out outputs
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.harness import Timing, begin, environment, interleave, need, parser, report, table
from node_runner.data.physionet import PhysioNet
from node_runner.data.series import Batch, Series, full
from node_runner.data.spirals import Spirals
from node_runner.fields import MLP
from node_runner.latent import ODE, RNN, Encoder, Gaussian, LatentModel, ODECell, elbo
from node_runner.nets import Feedforward
from node_runner.ode import Solver

CPU = torch.device("cpu")
RTOL, ATOL = 1e-3, 1e-4  # of the released code
COUNTS = (25, 50, 100, 200)  # observations of a series


def spirals_model() -> LatentModel:
    """As ``task=latent_spirals``, with the released example's ELU."""
    torch.manual_seed(0)
    dynamics = ODE(MLP(4, (20, 20), "elu", "none"), Solver("dopri5", RTOL, ATOL))
    encoder = Encoder(RNN(2, 25, kind="tanh"), 4)
    return LatentModel(2, encoder, dynamics, Feedforward(4, 2, (20,), "relu"), Gaussian(2, 0.3))


def physionet_model(dim: int = 41) -> LatentModel:
    """As ``task=latent_physionet``."""
    torch.manual_seed(0)
    hidden = (50, 50, 50, 50)
    cell = ODECell(dim, MLP(40, hidden, "tanh", "none"), Solver("euler", step_size=0.02))
    dynamics = ODE(MLP(20, hidden, "tanh", "none"), Solver("dopri5", RTOL, ATOL))
    return LatentModel(
        dim, Encoder(cell, 20, (100,)), dynamics, Feedforward(20, dim), Gaussian(dim, 0.01), 3
    )


def step(model: LatentModel, batch: Batch) -> Tensor:
    """The loss of our training step, after its backward pass."""
    torch.manual_seed(1)  # the same samples for all
    inference = model.infer(batch.observed, batch.target.times)
    loss = -elbo(model.likelihood, inference, batch.target, 1.0, True)[0].mean()
    torch.autograd.grad(loss, tuple(model.parameters()))
    return loss.detach()


def on_union(series: Series) -> Series:
    """The series on the union of their times, (B, U), U the number of those."""
    union, index = torch.unique(series.times, return_inverse=True)
    b, dim = len(series.times), series.values.shape[2]
    values = torch.zeros(b, len(union), dim)
    mask = torch.zeros(b, len(union), dim, dtype=torch.bool)
    rows, present = torch.arange(b)[:, None].expand_as(index), series.present
    values[rows[present], index[present]] = series.values[present]
    mask[rows[present], index[present]] = series.mask[present]
    return Series(union.expand(b, -1), values, mask)


def peer_step(model: LatentModel, batch: Batch) -> Tensor:
    """The loss of the peer's training step, after its backward pass."""
    torch.manual_seed(1)
    odeint, observed = need("torchdiffeq").odeint, on_union(batch.observed)
    h = peer_read(model.encoder.cell, observed)
    first = batch.observed.times[:, :1]
    mean, log_variance = model.encoder.head(torch.cat((h, first), 1)).chunk(2, dim=1)
    sd = (0.5 * log_variance).exp()
    z0 = mean[:, None] + sd[:, None] * torch.randn(len(mean), model.samples, mean.shape[1])
    target = on_union(batch.target)
    times = target.times[0]
    started = bool(times[0] == 0)
    if not started:
        times = torch.cat((times.new_zeros(1), times))
    field = model.dynamics.field
    states = odeint(field, z0, times, rtol=RTOL, atol=ATOL, method="dopri5")
    predictions = model.decoder(states[0 if started else 1 :]).permute(1, 0, 2, 3)
    log_prob = model.likelihood.log_prob(target, predictions)
    log_prob = log_prob / target.mask.sum((1, 2))[:, None]
    kl = (0.5 * (mean.square() + sd.square() - 1) - sd.log()).mean(1)
    loss = -(torch.logsumexp(log_prob, 1) - torch.tensor(model.samples).log() - kl).mean()
    torch.autograd.grad(loss, tuple(model.parameters()))
    return loss.detach()


def peer_read(cell: nn.Module, series: Series) -> Tensor:
    """The state at time 0 of a cell that has read backward over the union of times."""
    times, seen = series.times[0].flip(0), series.present.flip(1)
    values, mask = series.values.flip(1), series.mask.flip(1).float()
    h = torch.zeros(len(seen), cell.hidden_size)
    since = torch.zeros(len(seen))
    ode = isinstance(cell, ODECell)
    net = cell.net if ode else stepwise(cell.net)
    started = torch.zeros(len(seen), dtype=torch.bool)
    for k in range(len(times)):
        gap = times[k - 1] - times[k] if k else times.new_zeros(())
        inputs = [values[:, k], mask[:, k]]
        if ode:
            h = h + gap * cell.field(gap, h)
        else:
            since = torch.where(started, since + gap, 0.0)
            inputs.append(since[:, None])
        h = torch.where(seen[:, k, None], net(torch.cat(inputs, 1), h), h)
        since, started = torch.where(seen[:, k], 0.0, since), started | seen[:, k]
    return h + times[-1] * cell.field(times[-1], h) if ode else h


def stepwise(net: nn.RNN) -> nn.RNNCell:
    """The same weights as a net of one step."""
    cell = nn.RNNCell(net.input_size, net.hidden_size)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(net, f"{name}_l0"))
    return cell


def rescaled(dynamics: ODE, z0: Tensor, times: Tensor) -> Tensor:
    """The latent states by solves from time to time, each series' stretch taken for one unit."""
    states, z, before = [], z0, torch.zeros_like(times[:, 0])
    for t in times.unbind(1):
        speed, before = (t - before)[:, None, None], t
        z = dynamics.solver(
            lambda s, z, speed=speed: speed * dynamics.field(s, z),
            z,
            [0.0, 1.0],
            params=tuple(dynamics.parameters()),
        ).final
        states.append(z)
    return torch.stack(states, dim=1)


def ways(model: LatentModel, series: Series, rounds: int) -> list[list[str]]:
    """Forward and backward of the latent ODE by both ways."""
    torch.manual_seed(2)
    z0 = torch.randn(len(series.times), 3, 20, requires_grad=True)
    dynamics = model.dynamics
    forms = {
        "one solve over the union": lambda: dynamics(z0, series.times)[0],
        "a solve for each gap, rescaled": lambda: rescaled(dynamics, z0, series.times),
    }
    runs = {
        name: lambda form=form: torch.autograd.grad(form().square().mean(), z0)
        for name, form in forms.items()
    }
    timings = interleave(runs, rounds)
    first = timings[next(iter(runs))]
    return [[name, each.ms, f"{each.over(first):.1f}"] for name, each in timings.items()]


def growth(rounds: int) -> dict[int, Timing]:
    """The time of a step with so many observations of each of 50 series of 4 features."""
    model, runs = physionet_model(4), {}
    for count in COUNTS:
        torch.manual_seed(3)
        times = torch.rand(50, count).sort(1).values
        series = full(times, torch.sin(6 * times[:, :, None] + torch.rand(50, 1, 4)))
        runs[str(count)] = lambda series=series: step(model, Batch(series, series))
    return {int(count): each for count, each in interleave(runs, rounds).items()}


def plot(grown: dict[int, Timing], path: Path) -> None:
    """Time of a step against observations, beside the line through zero and the largest."""
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    milliseconds = [1e3 * each.median for each in grown.values()]
    most = max(grown)
    axes.plot(list(grown), milliseconds, "o-", label="measured")
    axes.plot([0, most], [0, milliseconds[-1]], ":", color="grey", label="in proportion")
    axes.set(xlabel="observations of a series", ylabel="ms a training step", xlim=0, ylim=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    made = parser(__doc__, rounds=True)
    made.add_argument("--root", type=Path, help="folder of data; PhysioNet is left out without it")
    args = begin(made)
    need("torchdiffeq")
    cases = {"spirals": (spirals_model(), Spirals(0, CPU).train_batch(0))}
    if args.root is not None:
        cases["PhysioNet"] = physionet_model(), PhysioNet(0, CPU, str(args.root)).train_batch(0)
    rows, parts = [], []
    for name, (model, batch) in cases.items():
        runs = {"ours": lambda m=model, b=batch: step(m, b)}
        runs["torchdiffeq"] = lambda m=model, b=batch: peer_step(m, b)
        losses = {key: float(run()) for key, run in runs.items()}
        timings = interleave(runs, args.rounds)
        for key, each in timings.items():
            ratio = f"{each.over(timings['torchdiffeq']):.3f}"
            rows.append([name, key, each.ms, ratio, f"{losses[key]:.4f}"])
    parts.append(table(["step", "solver", "ms", "/ torchdiffeq", "loss"], rows))
    if "PhysioNet" in cases:
        model, batch = cases["PhysioNet"]
        found = ways(model, batch.target, args.rounds)
        parts.append(table(["latent ODE of PhysioNet", "ms", "/ union"], found))
    grown = growth(args.rounds)
    rows = [[str(n), each.ms, f"{1e3 * each.median / n:.2f}"] for n, each in grown.items()]
    parts.append(table(["observations", "ms a step", "ms an observation"], rows))
    report(
        "latent_step", args, [environment("latent_step", args, ["torch", "torchdiffeq"]), *parts]
    )
    if args.out is not None:
        plot(grown, args.out / "latent_growth.png")


if __name__ == "__main__":
    main()
