"""The hopper: windows and thirds of its series, what is told of them, and files that are not it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.errors import refused

from node_runner.data.hopper import Hopper

CPU = torch.device("cpu")
ORDER = np.random.RandomState(42).permutation(40)  # training, validation, test


def tensor(count=40):
    """Series that tell their own number and time: feature 0 is 1000 n, feature 1 is t."""
    x = torch.randn(count, 200, 14, generator=torch.Generator().manual_seed(3)).double()
    x[:, :, 0] = 1000.0 * torch.arange(count)[:, None]
    x[:, :, 1] = torch.arange(200.0)
    return x * torch.linspace(1, 5, 14) - 2


def placed(root, x, folder="HopperPhysics"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    torch.save(x, root / folder / "training.pt")
    return root


def built(root, seed=0, batch_size=10, **options):
    return Hopper(seed, CPU, str(root), batch_size=batch_size, **options)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return placed(tmp_path_factory.mktemp("hopper"), tensor())


def spans(values, series):
    """Of which series, and from which of its times on, each of values (B, T, 14) is."""
    starts = series.unfold(1, values.shape[1], 1)  # (N, starts, 14, T)
    same = (starts[None, :, :, :, 0] == values[:, None, None, 0]).all(-1)
    for i, n, start in same.nonzero().tolist():
        if torch.equal(starts[n, start].T, values[i]):
            yield i, n, start


def test_a_window_of_100_lies_inside_a_training_series(root):
    data = built(root)
    starts = set()
    for step in range(9):
        batch = data.train_batch(step)
        assert batch.target.values.shape == (10, 100, 14) and batch.beyond is None
        where = list(spans(batch.target.values, data.splits["train"]))
        assert [i for i, _, _ in where] == list(range(10))
        assert len({n for _, n, _ in where}) == 10
        starts |= {start for _, _, start in where}
        expected = torch.arange(100) / 200
        assert torch.equal(batch.target.times, expected.expand(10, 100))
    assert 0 <= min(starts) <= 15 and 85 <= max(starts) <= 100 and len(starts) > 30
    assert batch.target.mask.all()


@pytest.mark.parametrize(("share", "count"), [(0.1, 10), (0.25, 25), (0.001, 1), (1.0, 100)])
def test_what_is_told_is_that_share_of_the_window(share, count, root):
    batch = built(root, observed=share).train_batch(0)
    observed, target = batch.observed, batch.target
    assert observed.times.shape == (10, count) and observed.mask.all()
    index = (observed.times * 200).round().long()
    assert (index.diff(dim=1) > 0).all()
    assert count in (1, 100) or len(index.unique(dim=0)) == 10  # each series has its own
    for i in range(10):
        assert torch.equal(observed.values[i], target.values[i, index[i]])
        assert torch.equal(observed.times[i], target.times[i, index[i]])


def test_each_step_draws_anew_and_an_evaluation_does_not(root):
    data = built(root, observed=0.3)
    index = {tuple(data.train_batch(step).observed.times[0].tolist()) for step in range(6)}
    assert len(index) == 6
    for one, two in zip(data.batches("test"), data.batches("test"), strict=True):
        for a, b in zip(one.observed + one.target, two.observed + two.target, strict=True):
            assert torch.equal(a, b)


def test_extrapolation_tells_of_the_first_third_and_asks_for_the_rest(root):
    data = built(root, task="extrapolation", observed=0.5)
    (batch,) = data.batches("test")
    series = data.splits["test"]
    assert torch.equal(batch.target.values, series[:, 66:])
    assert torch.equal(batch.target.times, (torch.arange(66, 200) / 200).expand(8, 134))
    assert batch.observed.times.shape == (8, 33)
    index = (batch.observed.times * 200).round().long()
    assert index.max() < 66 and batch.observed.times.max() < batch.target.times.min()
    for i in range(8):
        assert torch.equal(batch.observed.values[i], series[i, index[i]])
    whole = next(iter(built(root, task="extrapolation", observed=1.0).batches("test")))
    assert torch.equal(whole.observed.values, series[:, :66])


def test_the_split_is_the_same_for_every_seed_and_training_is_not(root):
    one, two = built(root, 0), built(root, 1)
    assert one.sizes == two.sizes == {"train": 28, "validation": 4, "test": 8}
    for split in one.sizes:
        assert torch.equal(one.splits[split], two.splits[split])
    assert not torch.equal(one.train_batch(0).target.values, two.train_batch(0).target.values)


def test_features_are_scaled_by_their_range_in_training(root):
    found, x = built(root).splits, tensor()[ORDER]
    train = x[:28]
    low, high = train.amin((0, 1)), train.amax((0, 1))
    for values, part in zip(found.values(), x.split([28, 4, 8]), strict=True):
        torch.testing.assert_close(values, ((part - low) / (high - low)).float())
    assert found["train"].amin((0, 1)).eq(0).all() and found["train"].amax((0, 1)).eq(1).all()


def test_the_released_scaling_is_by_the_maximum_of_all(root):
    found, x = built(root, released=True), tensor()[ORDER]
    expected = (x - x.amin((0, 1))) / x.amax((0, 1))
    for values, part in zip(found.splits.values(), expected.split([28, 4, 8]), strict=True):
        torch.testing.assert_close(values, part.float())
    assert found.part == "40 series, scaled as released"


def with_a(value):
    x = tensor()
    x[7, 30, 5] = value
    return x


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (tensor()[:, :100], ("holds [40, 100, 14], must be [N, 200, 14]",)),
        (tensor()[:, :, :13], ("holds [40, 200, 13], must be",)),
        (tensor()[0], ("holds [200, 14], must be",)),
        (torch.tensor(1.0), ("holds [], must be",)),
        ({"x": tensor()}, ("holds dict, must be a tensor of real numbers",)),
        ([1, 2], ("holds list, must be a tensor",)),
        (with_a(float("nan")), ("series 7, time 30, feature 5 is no finite number",)),
        (with_a(-float("inf")), ("series 7, time 30, feature 5 is no finite number",)),
        (tensor(9), ("holds 9 series, must be at least 10",)),
        (tensor(0), ("holds 0 series, must be at least 10",)),
        (tensor() + 1j, ("complex",)),
        (tensor().to_sparse(), ("sparse",)),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_something_else_than_the_tensor_is_refused(x, parts, tmp_path):
    placed(tmp_path, x)
    refused(
        lambda: built(tmp_path, batch_size=1),
        str(tmp_path / "HopperPhysics" / "training.pt"),
        *parts,
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_refused_wherever_it_ends(zipped, tmp_path):
    path = tmp_path / "HopperPhysics" / "training.pt"
    path.parent.mkdir()
    torch.save(tensor(12), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    built(tmp_path, batch_size=2)
    for content in (b"", b"no tensor", *(whole[:n] for n in (1, 9, 99, 5000, len(whole) - 9))):
        path.write_bytes(content)
        refused(lambda: built(tmp_path), f"{path} is no file of torch tensors")


def test_what_could_run_code_is_not_loaded(tmp_path):
    placed(tmp_path, print)
    refused(lambda: built(tmp_path), "training.pt is no file of torch tensors")


def test_the_file_may_lie_a_folder_deeper_and_need_a_gradient(tmp_path):
    x = tensor(12).float().requires_grad_()
    data = built(placed(tmp_path, x, "HopperPhysics/processed"), batch_size=2)
    assert sum(data.sizes.values()) == 12 and not data.splits["train"].requires_grad


def test_an_absent_file_is_named_with_where_to_put_it_and_where_to_get_it(tmp_path):
    parts = (f"{tmp_path}/HopperPhysics lacks training.pt", "HopperPhysics/training.pt")
    where = ("NODE_RUNNER_DATA", "paths.data", "that holds HopperPhysics")
    refused(lambda: built(tmp_path), *parts, *where, kind=FileNotFoundError)
