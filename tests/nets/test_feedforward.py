"""The plain feed-forward net, and the perceptron made of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from node_runner.nets import Feedforward, Perceptron
from node_runner.nets.feedforward import ACTIVATIONS


def widths(net):
    """Of its linear layers, each as (in, out)."""
    return [(one.in_features, one.out_features) for one in net if isinstance(one, nn.Linear)]


def test_its_layers_have_the_widths_asked_for():
    assert widths(Feedforward(3, 2)) == [(3, 2)]
    assert widths(Feedforward(3, 2, (5, 4))) == [(3, 5), (5, 4), (4, 2)]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_activation_is_between_the_layers_and_not_after_the_last(name, draw):
    net, x = Feedforward(3, 2, (5, 4), name).double(), draw(2, 7, 3)
    first, second, last = (layer for layer in net if isinstance(layer, nn.Linear))
    act = getattr(nn.functional, name) if name != "tanh" else torch.tanh
    assert torch.equal(net(x), last(act(second(act(first(x))))))


@pytest.mark.parametrize("given", [(0, 2), (3, 0), (3, 2, (5, 0))])
def test_a_width_below_one_is_refused_in_one_line(given):
    with pytest.raises(ValueError, match="must be at least 1$"):
        Feedforward(*given)


def test_a_perceptron_keeps_the_names_of_its_parameters_and_flattens_images(draw):
    """Checkpoints of older runs hold them so."""
    net, images = Perceptron(12, (5,), 3).double(), draw(4, 1, 3, 4)
    shapes = {name: tuple(p.shape) for name, p in net.state_dict().items()}
    assert shapes == {"1.weight": (5, 12), "1.bias": (5,), "3.weight": (3, 5), "3.bias": (3,)}
    assert torch.equal(net(images), net[3](net[1](images.flatten(1)).relu()))
