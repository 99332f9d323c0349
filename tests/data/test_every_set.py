"""Laws of all generated sets: batches by seed and step, and arguments refused by name."""

import pytest
import torch

from node_runner.data.activity import Activity
from node_runner.data.csv import Csv
from node_runner.data.energies import energy, log_normaliser
from node_runner.data.events import EventData
from node_runner.data.hopper import Hopper
from node_runner.data.mnist import MNIST
from node_runner.data.noise import Noise
from node_runner.data.periodic import Periodic
from node_runner.data.physionet import PhysioNet
from node_runner.data.spirals import Spirals
from node_runner.data.toy import SETS, Toy
from node_runner.data.trajectory import Simulated

CPU, NAN = torch.device("cpu"), float("nan")
SIZES = {"train_size": 40, "validation_size": 10, "test_size": 60, "batch_size": 8}
GENERATED = {
    "noise": (Noise, {"batch_size": 50}),
    "spirals": (Spirals, SIZES),
    "interpolation": (Periodic, SIZES),
    "extrapolation": (Periodic, SIZES | {"task": "extrapolation"}),
    "events": (EventData, SIZES),
    **{name: (Toy, {"name": name, "batch_size": 50}) for name in SETS},
}


def leaves(batch):
    """All tensors of a batch."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    return [leaf for part in batch if part is not None for leaf in leaves(part)]


@pytest.mark.parametrize("name", GENERATED)
def test_a_batch_is_a_function_of_seed_and_step_and_an_evaluation_is_fixed(name):
    kind, options = GENERATED[name]
    data = kind(5, CPU, **options)
    late, splits = leaves(data.train_batch(7)), ("validation", "test")
    fixed = {split: [leaf for b in data.batches(split) for leaf in leaves(b)] for split in splits}
    torch.rand(3)  # the global generator has no part in it
    same = kind(5, CPU, **options)
    assert all(map(torch.equal, leaves(same.train_batch(7)), late))
    others = data.train_batch(6), kind(6, CPU, **options).train_batch(7)
    assert not any(all(map(torch.equal, leaves(other), late)) for other in others)
    for split in splits:
        again = [leaf for batch in same.batches(split) for leaf in leaves(batch)]
        assert all(map(torch.equal, again, fixed[split]))
    assert not all(map(torch.equal, *fixed.values()))


OUT_OF_RANGE = [
    *((Activity, {name: 0}) for name in ("window", "stride", "step")),
    *((EventData, {"family": "sin"}), (EventData, {"end": 0.0}), (EventData, {"test_size": 0})),
    *((EventData, {"rate": rate}) for rate in (-1.0, NAN)),
    *((Hopper, {"observed": share}) for share in (0, 1.1, -0.5, NAN)),
    *((PhysioNet, {"quantisation": value}) for value in (0, -1.0, NAN)),
    *((MNIST, {name: value}) for name, value in (("batch_size", 0), ("evaluation_size", 0))),
    *((MNIST, {name: value}) for name, value in (("held_out", 60_000), ("crop_padding", -1))),
    *((Noise, {name: 0}) for name in ("dim", "batch_size", "validation_size", "test_size")),
    *((Toy, {"epoch_steps": 0}), (Toy, {"batch_size": 0}), (Toy, {"name": "moon"})),
    *((Periodic, {"observed": count}) for count in (0, 101)),
    *((Periodic, {"noise": -1}), (Periodic, {"task": "forecast"}), (Periodic, {"train_size": 0})),
    (Periodic, {"observed": 90, "task": "extrapolation"}),
    *((Spirals, {"observed": count}) for count in (0, 101)),
    *((Spirals, {"start": start}) for start in ([5, 5], [0, 401], [0])),
    *((Spirals, {"noise": -0.1}), (Spirals, {"test_size": 0}), (Spirals, {"evaluation_size": 0})),
    *((kind, {"batch_size": 10**6}) for kind in (Spirals, Periodic, EventData)),
    *((Csv, {"held_out": 1.0}), (Csv, {"validate_every": 1})),
    *((Simulated, {"system": "lorenz"}), (Simulated, {"observations": 1})),
    *((Simulated, {"trajectories": 0}), (Simulated, {"noise": -0.1}), (Simulated, {"end": 5.0})),
    *((Simulated, {"missing": 1.0}), (Simulated, {"observed_until": 0.0})),
    (Simulated, {"missing": 0.9, "observations": 2}),
]


@pytest.mark.parametrize(("kind", "options"), OUT_OF_RANGE, ids=str)
def test_a_value_out_of_range_is_refused_by_name_in_one_line(kind, options):
    with pytest.raises(ValueError, match=f"^{next(iter(options))} is [^\n]*$"):
        kind(0, CPU, **options)


@pytest.mark.parametrize(
    "call", [lambda: energy("u5", torch.zeros(1, 2)), lambda: log_normaliser("u5")]
)
def test_an_unknown_energy_is_refused(call):
    with pytest.raises(ValueError, match="^energy is 'u5'; choose from u1, u2, u3, u4$"):
        call()
