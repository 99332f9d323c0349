"""The toy FFJORD by both engines: what compiling saves, in evaluation and in training.

The field, batch, probes and tolerance are those of ``ffjord_step``, untrained and trained for
``--training`` steps. First the forward pass without gradient, log p of a batch: torchdiffeq,
node_runner with both engines, and diffrax in jax.jit on the same weights, its divergence by
jax.vjp. Then a training step: torchdiffeq's plain backprop, and node_runner's Direct and Replay
with both engines, the gradient error against Direct with dopri8 at 1e-11 in float64. Compiling is
not timed; its seconds are listed, as they were on this machine (torch keeps compiled code on disk,
so that a second time may take less).

    python -m benchmarks.compiled
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.ffjord_step import BATCH, END, TOL, eight_gaussians, train
from benchmarks.flow_case import Fixed, FlowCase, signs
from benchmarks.harness import begin, bullets, environment, interleave, need, parser, report, table
from benchmarks.peers import diffrax
from node_runner.fields import MLP
from node_runner.flow import CNF, divergence_and_vjps, log_normal
from node_runner.ode import Direct, Replay, Solver

PEER, FILL = "torchdiffeq", 0.05
HEADER = ["field", "forward", "ms", "x faster", "NFE", "largest difference of log p", "first, s"]
TRAINING = ["field", "step", "ms", "x faster", "NFE forward", "NFE backward", "gradient error"]
TRAINING += ["first, s"]


def ours(case: FlowCase, engine: str, method: str) -> Callable[[], tuple[Tensor, int]]:
    """log p of the batch, (B,), and NFE."""
    solver = Solver(method, case.rtol, case.atol, engine=engine)
    flow = CNF(case.field, solver, Fixed(case.signs), end_time=case.end)

    @torch.no_grad()
    def run() -> tuple[Tensor, int]:
        transport = flow.transport(case.start)
        log_prob = transport.log_prob
        return log_prob, transport.stats.forward.nfe

    return run


def theirs(case: FlowCase) -> Callable[[], tuple[Tensor, int]]:
    odeint, ts = need("torchdiffeq").odeint, torch.tensor([0.0, case.end])
    calls = 0

    def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal calls
        calls += 1
        dx, _, div = divergence_and_vjps(case.field, t, state[0], case.signs)
        return dx, div

    @torch.no_grad()
    def run() -> tuple[Tensor, int]:
        nonlocal calls
        calls = 0
        start = case.start, case.start.new_zeros(len(case.start))
        z, log_det = odeint(rates, start, ts, rtol=case.rtol, atol=case.atol, method="dopri5")
        return log_normal(z[-1]) + log_det[-1], calls

    return run


def in_jax(case: FlowCase) -> Callable[[], tuple[Tensor, int]]:
    """The field of concat_squash layers again, by diffrax."""
    jax, jnp = need("jax"), need("jax.numpy")
    layers = [
        [jnp.asarray(p.detach().numpy()) for p in layer.parameters()] for layer in case.field.layers
    ]
    probe = jnp.asarray(case.signs[0].numpy())

    def field(t: Any, x: Any) -> Any:
        for i, (w, b, gate_w, gate_b, shift) in enumerate(layers):
            gate = jax.nn.sigmoid(gate_w[:, 0] * t + gate_b)
            x = x @ (gate[:, None] * w).T + gate * b + shift[:, 0] * t
            x = jnp.tanh(x) if i < len(layers) - 1 else x
        return x

    def rates(t: Any, state: tuple[Any, Any], args: None) -> tuple[Any, Any]:
        dx, vjp = jax.vjp(lambda x: field(t, x), state[0])
        return dx, (vjp(probe)[0] * probe).sum(1)

    start = jnp.asarray(case.start.numpy()), jnp.zeros(len(case.start))
    solve = diffrax(rates, start, case.end, case.rtol)

    def run() -> tuple[Tensor, int]:
        (z, log_det), nfe = solve()
        found = torch.tensor(np.asarray(z)), torch.tensor(np.asarray(log_det))
        return log_normal(found[0]) + found[1], nfe

    return run


def first_of(run: Callable[[], Any]) -> tuple[Any, str]:
    """What a run gives, and its seconds with all that it compiles."""
    start = time.perf_counter()
    found = run()
    return found, f"{time.perf_counter() - start:.1f}"


def forward(name: str, case: FlowCase, rounds: int, method: str) -> list[list[str]]:
    runs = {
        PEER: theirs(case),
        "node_runner": ours(case, "eager", method),
        "node_runner compiled": ours(case, "compiled", method),
        "diffrax": in_jax(case),
    }
    firsts = {key: first_of(run) for key, run in runs.items()}
    timings = interleave(runs, rounds, FILL)
    reference, rows = firsts["node_runner"][0][0], []
    for key, ((log_prob, nfe), seconds) in firsts.items():
        faster = f"{timings[PEER].over(timings[key]):.2f}"
        difference = f"{(log_prob - reference).abs().max().item():.1e}"
        rows.append([name, key, timings[key].ms, faster, str(nfe), difference, seconds])
    return rows


def step(name: str, case: FlowCase, rounds: int, gradients: list, method: str) -> list[list[str]]:
    odeint, exact = need("torchdiffeq").odeint, case.exact()
    runs = {"torchdiffeq odeint": lambda: case.theirs(odeint)}
    for gradient in gradients:
        for engine in ("eager", "compiled"):
            solver = Solver(method, case.rtol, case.atol, gradient=gradient, engine=engine)
            key = f"node_runner {type(gradient).__name__}, {engine}"
            runs[key] = lambda s=solver: case.ours(s)
    firsts = {key: first_of(run) for key, run in runs.items()}
    timings, rows = interleave(runs, rounds), []
    for key, (found, seconds) in firsts.items():
        faster = f"{timings['torchdiffeq odeint'].over(timings[key]):.2f}"
        cells = [timings[key].ms, faster, str(found.forward.nfe), str(found.backward)]
        rows.append([name, key, *cells, f"{found.error(exact):.1e}", seconds])
    return rows


def cases(training: int) -> dict[str, FlowCase]:
    """Return an untrained field and a trained one, each with a batch of its own."""
    found: dict[str, FlowCase] = {}
    for seed, name in enumerate(("untrained", "trained")):
        torch.manual_seed(seed)
        net: nn.Module = MLP(2)
        x = eight_gaussians(BATCH)
        found[name] = FlowCase(net, x, signs(x), TOL, TOL, END)
    train(found["trained"].field, training)
    return found


def main() -> None:
    made = parser(__doc__, rounds=True)
    made.add_argument("--training", type=int, default=150, help="steps of training, default 150")
    args = begin(made)
    need("torchdiffeq")
    method = (
        "adaptive_heun" if args.smoke else "dopri5"
    )  # two stages compile in a third of the time
    forwards, steps = [], []
    for name, case in cases(args.training).items():
        if args.smoke and name == "trained":  # compiled anew, which takes a minute
            continue
        forwards += forward(name, case, args.rounds, method)
        gradients = [Direct()] if args.smoke else [Direct(), Replay()]
        steps += step(name, case, args.rounds, gradients, method)
    about = environment("compiled", args, ["torch", "torchdiffeq", "diffrax", "jax"])
    note = "Differences of log p are from node_runner's, at a tolerance of 1e-5."
    parts = [about, table(HEADER, forwards), table(TRAINING, steps), bullets([note])]
    report("compiled", args, parts)


if __name__ == "__main__":
    main()
