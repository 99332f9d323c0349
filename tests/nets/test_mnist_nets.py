"""The MNIST nets: sizes of the released code, residual blocks, and what the configuration makes."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from node_runner.nets import ConvStem, Perceptron, PooledHead, ResidualBlock, ResNet, ResStem
from node_runner.runs import config, schema

config.register()


@lru_cache
def composed(*overrides):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        chosen = compose("config", ["task=odenet_mnist", *overrides])
    schema.check(chosen)
    return chosen


def built(chosen):
    return instantiate(chosen.model, _convert_="all")


SIZES = [
    (["model=odenet"], 208_266),
    (["model=odenet", "model/stem=res"], 232_970),
    (["model=rknet"], 208_266),
    (["model=rknet", "model/stem=res"], 232_970),
    (["model=resnet"], 576_778),
    (["model=resnet", "model/stem=res"], 601_482),
    (["model=mlp"], 238_510),
]


@pytest.mark.parametrize(("overrides", "size"), SIZES, ids=[" ".join(o) for o, _ in SIZES])
def test_a_composed_net_has_the_parameters_of_the_released_code(overrides, size):
    assert sum(p.numel() for p in built(composed(*overrides)).parameters()) == size


@pytest.mark.parametrize("stem", ["conv", "res"])
@pytest.mark.parametrize(("model", "brought"), [("odenet", "Adjoint"), ("rknet", "Direct")])
def test_an_ode_model_brings_its_gradient_and_a_typed_one_wins(model, brought, stem):
    for typed, name in (([], brought), (["gradient=replay"], "Replay")):
        chosen = composed(f"model={model}", f"model/stem={stem}", *typed)
        assert type(built(chosen).solver.gradient).__name__ == name


def test_the_flow_brings_its_gradient_too():
    for typed, name in (([], "Direct"), (["gradient=replay"], "Replay")):
        chosen = composed("task=ffjord_toy", *typed)
        assert type(instantiate(chosen.solver).gradient).__name__ == name


@pytest.mark.parametrize("model", ["resnet", "mlp"])
@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_a_plain_model_has_no_gradient_of_an_ode(model, solver):
    chosen = composed(f"model={model}", f"solver={solver}", "eval_solver=tsit5")
    assert "gradient" not in chosen
    assert chosen.solver.gradient is None


@pytest.mark.parametrize("model", ["odenet", "rknet"])
def test_an_experiment_chooses_stem_and_gradient(model, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "cell.yaml").write_text(
        "# @package _global_\n"
        f"defaults:\n  - override /model: {model}\n  - override /model/stem: res\n"
        "  - override /gradient: replay\n  - _self_\n"
    )
    net = built(composed(f"hydra.searchpath=[file://{tmp_path}]", "experiment=cell"))
    assert isinstance(net.stem, ResStem)
    assert type(net.solver.gradient).__name__ == "Replay"


def test_the_learning_rate_follows_the_batch_unless_typed():
    assert composed().optimizer.lr == pytest.approx(0.1, rel=1e-12)
    assert composed("data.batch_size=256").optimizer.lr == pytest.approx(0.2, rel=1e-12)
    assert composed("data.batch_size=256", "optimizer.lr=0.05").optimizer.lr == 0.05


@pytest.mark.parametrize("channels", [1, 6, 64])
@pytest.mark.parametrize(("stem", "side"), [(ConvStem, 6), (ResStem, 7)])
def test_a_stem_makes_features_that_the_head_classifies(stem, side, channels):
    features = stem(channels)(torch.rand(2, 1, 28, 28))
    assert features.shape == (2, channels, side, side)
    assert PooledHead(channels)(features).shape == (2, 10)


@pytest.mark.parametrize("size", [(7, 7), (8, 5)])
def test_a_block_whose_last_convolution_is_zero_is_its_shortcut(size, draw):
    x = draw(3, 6, *size)
    for stride in (1, 2):
        block = ResidualBlock(6, stride).double()
        torch.nn.init.zeros_(block.conv2.weight)
        expected = x if stride == 1 else block.shortcut(torch.relu(block.norm1(x)))
        assert torch.equal(block(x), expected)
        assert expected.shape[2:] == tuple(-(-n // stride) for n in size)


def test_a_block_normalises_first():
    """g does not see scale and shift of x; with a stride neither does the shortcut."""
    x = torch.randn(3, 6, 8, 8, dtype=torch.float64)
    scaled = 3 * x + 5
    plain, strided = ResidualBlock(6).double(), ResidualBlock(6, stride=2).double()
    close = {"rtol": 1e-4, "atol": 1e-4}  # the norm's epsilon is 1e-5
    torch.testing.assert_close(plain(scaled) - scaled, plain(x) - x, **close)
    torch.testing.assert_close(strided(scaled), strided(x), **close)


def test_convolutions_of_a_block_have_no_bias():
    assert sum(p.numel() for p in ResidualBlock(64).parameters()) == 2 * 128 + 2 * 9 * 64**2
    assert sum(p.numel() for p in ResidualBlock(64, 2).parameters()) == 256 + 19 * 64**2


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_resnet_of_identities_is_its_stem_and_head(blocks, draw):
    stem, head = ResStem(4).double(), PooledHead(4).double()
    net, x = ResNet(stem, head, 4, blocks).double(), draw(2, 1, 28, 28)
    residual = [part for part in net if isinstance(part, ResidualBlock)]
    assert len(residual) == blocks
    for block in residual:
        torch.nn.init.zeros_(block.conv2.weight)
    assert torch.equal(net(x), head(stem(x)))


NETS = {
    "resnet-conv": lambda: ResNet(ConvStem(4), PooledHead(4), 4, 2),
    "resnet-res": lambda: ResNet(ResStem(4), PooledHead(4), 4, 2),
    "perceptron": lambda: Perceptron(hidden=(8, 7)),
}


@pytest.mark.parametrize("build", NETS.values(), ids=NETS)
def test_a_plain_net_answers_each_image_with_logits_of_its_own(build, draw):
    net, x = build().double().train(), draw(5, 1, 28, 28)
    logits = net(x)
    assert logits.shape == (5, 10)
    for i in range(5):
        torch.testing.assert_close(net(x[i : i + 1])[0], logits[i], rtol=1e-12, atol=1e-13)


def test_a_perceptron_equals_its_formula(draw):
    net, x = Perceptron(6, (5, 4), 3).double(), draw(7, 1, 2, 3)
    (a, b), (c, d), (e, f) = zip(*[iter(net.parameters())] * 2, strict=True)
    hidden = torch.relu(torch.relu(x.flatten(1) @ a.T + b) @ c.T + d)
    torch.testing.assert_close(net(x), hidden @ e.T + f, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvStem(48), "channels is 48, must be 1 to 32 or a multiple of 32"),
        (lambda: ResidualBlock(0), "channels is 0"),
        (lambda: ResNet(ConvStem(4), PooledHead(4), 4, -1), "blocks is -1"),
        (lambda: Perceptron(hidden=(300, 0)), "hidden is"),
        (lambda: Perceptron(classes=0), "outputs is 0"),
    ],
)
def test_sizes_out_of_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
