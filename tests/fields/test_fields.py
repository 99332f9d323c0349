"""Fields f(t, x): sizes, formulas, and that one time for all equals the same time for each."""

from __future__ import annotations

import pytest
import torch

from node_runner.fields import MLP, ConvField, ConvNet, EncoderDecoder
from node_runner.fields.conv_layers import ConcatConv
from node_runner.fields.layers import (
    ACTIVATIONS,
    LAYERS,
    Autonomous,
    ConcatLinear,
    ConcatSquashLinear,
)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_sizes_of_the_published_fields():
    assert parameters(MLP(2)) == 9_224
    assert parameters(ConvField(64)) == 75_392


def test_size_of_the_concat_layer_counts_one_more_input():
    assert parameters(MLP(2, (64,), layer="concat")) == (2 + 1) * 64 + 64 + (64 + 1) * 2 + 2


def autonomous(field):
    return any(isinstance(part, Autonomous) for part in field.modules())


FIELDS = {
    **{
        f"mlp-{layer}-{activation}": (lambda a=activation, b=layer: MLP(3, (8, 5), a, b), (4, 3))
        for layer in LAYERS
        for activation in ACTIVATIONS
    },
    "conv": (lambda: ConvField(6), (4, 6, 5, 5)),
    "conv-wide": (lambda: ConvField(64), (4, 64, 3, 3)),
}
fields = pytest.mark.parametrize("build, shape", FIELDS.values(), ids=FIELDS)


@fields
def test_one_time_for_all_equals_that_time_for_each(build, shape, draw):
    """Two ways to the same sums, for a layer that gates its weights once."""
    field, x = build().double(), draw(*shape)
    for t in draw(3):
        torch.testing.assert_close(field(t, x), field(t.expand(4), x), rtol=1e-12, atol=1e-13)


@fields
def test_times_of_their_own_equal_samples_one_by_one(build, shape, draw):
    field, x, t = build().double(), draw(*shape), draw(4)
    alone = torch.cat([field(t[i], x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(field(t, x), alone, rtol=1e-12, atol=1e-13)


@fields
def test_rate_has_the_shape_of_the_state(build, shape, draw):
    field, x, t = build().double(), draw(*shape), draw()
    assert field(t, x).shape == x.shape
    assert field(t.expand(4), x).shape == x.shape


@fields
def test_rate_depends_on_the_time_unless_it_is_autonomous(build, shape, draw):
    field, x = build().double(), draw(*shape)
    same = torch.allclose(field(draw(), x), field(draw(), x), rtol=1e-6)
    assert same == autonomous(field)


@fields
def test_every_parameter_has_a_gradient_and_so_have_time_and_state(build, shape, draw):
    """Ten draws, so that no ReLU unit is dead in all; a shift before a norm cancels."""
    field, x, t = build().double(), draw(10, *shape[1:]).requires_grad_(), draw().requires_grad_()
    field(t, x).pow(3).sum().backward()
    inputs = [("x", x)] if autonomous(field) else [("t", t), ("x", x)]
    for name, value in [*field.named_parameters(), *inputs]:
        assert value.grad is not None and value.grad.any(), name


def test_concat_squash_equals_its_formula(draw):
    layer, t, x = ConcatSquashLinear(3, 4).double(), draw(), draw(6, 3)
    w, b = layer.linear.weight, layer.linear.bias
    gate = torch.sigmoid(layer.gate.weight[:, 0] * t + layer.gate.bias)
    expected = (x @ w.T + b) * gate + layer.shift.weight[:, 0] * t
    torch.testing.assert_close(layer(t, x), expected, rtol=1e-13, atol=1e-14)


def test_concat_equals_its_formula(draw):
    layer, t, x = ConcatLinear(3, 4).double(), draw(), draw(6, 3)
    w, b = layer.linear.weight, layer.linear.bias
    expected = torch.cat([t.expand(6, 1), x], dim=1) @ w.T + b
    torch.testing.assert_close(layer(t, x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("times", [(), (4,)], ids=["one time", "its own time each"])
@pytest.mark.parametrize("size", [(5, 7), (1, 1)], ids=["image", "one pixel"])
@pytest.mark.parametrize("resize", ["same", "half", "double"])
def test_concat_conv_equals_its_formula_and_so_do_its_gradients(times, size, resize, draw):
    """Pixels at the border see fewer of the time's, so that the shift is no constant."""
    layer = ConcatConv(6, 3, resize).double()
    scale = {"same": lambda n: n, "half": lambda n: (n + 1) // 2, "double": lambda n: 2 * n}
    t, x, cotangent = draw(*times), draw(4, 6, *size), draw(4, 3, *map(scale[resize], size))
    inputs = [t.requires_grad_(), x.requires_grad_(), *layer.parameters()]
    channel = t.view(-1, 1, 1, 1).expand(4, 1, *size)
    results = layer(t, x), layer.conv(torch.cat((channel, x), dim=1))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-13)
    for mine, expected in zip(
        *(torch.autograd.grad(result, inputs, cotangent) for result in results), strict=True
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-13)


def test_conv_field_equals_its_formula_and_leaves_its_input_as_it_was(draw):
    field, t, x = ConvField(6).double(), draw(), draw(4, 6, 5, 5)
    before = x.clone()
    found, y = field(t, x), x
    for norm, layer in ((field.norm1, field.conv1), (field.norm2, field.conv2)):
        y = layer(t, torch.relu(norm(y)))
    assert torch.equal(found, field.norm3(y))
    assert torch.equal(x, before)


def test_conv_field_has_the_right_first_and_second_derivatives(draw):
    """By finite differences: a change in place must not reach what a backward pass has saved."""
    field = ConvField(2).double()
    t, x = draw().requires_grad_(), draw(2, 2, 2, 3).requires_grad_()
    for norm in (field.norm1, field.norm2):  # far from ReLU's kink: one channel passes, one not
        norm.bias.data = torch.tensor([4.0, -4.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(field, (t, x))
    assert torch.autograd.gradgradcheck(field, (t, x))


def test_conv_field_under_vmap_equals_a_loop(draw):
    field, t, x = ConvField(6).double(), draw(3), draw(3, 2, 6, 4, 4)
    alone = torch.stack([field(*pair) for pair in zip(t, x, strict=True)])
    torch.testing.assert_close(torch.func.vmap(field)(t, x), alone, rtol=1e-12, atol=1e-13)


def test_keys_of_the_conv_field_are_those_of_its_layers():
    """Checkpoints hold one weight for [t, x], as if they were concatenated."""
    shapes = {key: tuple(value.shape) for key, value in ConvField(6).state_dict().items()}
    assert shapes["conv1.conv.weight"] == shapes["conv2.conv.weight"] == (6, 7, 3, 3)
    assert len(shapes) == 10


def test_mlp_has_no_activation_after_its_last_layer(draw):
    field, t, x = MLP(2, (5, 4), "relu").double(), draw(), draw(6, 2)
    first, second, last = field.layers
    expected = last(t, torch.relu(second(t, torch.relu(first(t, x)))))
    assert torch.equal(field(t, x), expected)


def test_conv_field_treats_samples_apart(draw):
    """Group normalisation, not batch normalisation: a sample alone is treated as in company."""
    field, t, x = ConvField(6).double().train(), draw(), draw(4, 6, 5, 5)
    torch.testing.assert_close(field(t, x)[:1], field(t, x[:1]), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind, hidden", [(ConvNet, (5, 4)), (EncoderDecoder, (3, 4, 5, 6))])
def test_an_image_field_keeps_the_shape_and_may_start_at_rest(kind, hidden, draw):
    t, x = draw(), draw(2, 3, 8, 4)
    assert kind(3, hidden).double()(t, x).shape == x.shape
    assert not kind(3, hidden, zero_last=True).double()(t, x).any()


def test_the_encoder_decoder_sees_half_the_sides_twice(draw):
    field, seen = EncoderDecoder(1).double(), []
    for layer in field.layers:
        layer.register_forward_hook(lambda layer, args, out: seen.append(tuple(out.shape[1:])))
    field(draw(), draw(1, 1, 28, 28))
    down = [(64, 28, 28), (64, 14, 14), (128, 14, 14), (128, 7, 7)]
    assert seen == [*down, (128, 14, 14), (64, 14, 14), (64, 28, 28), (1, 28, 28)]


def test_a_field_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match=r"hidden is \[\]"):
        ConvNet(1, ())
