import pytest
import torch
from torch import nn

from node_runner.training.memory import peak_mib, saved_bytes


def hooked_bytes(make_loss, parameters):
    own = {p.untyped_storage().data_ptr() for p in parameters}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = (storage.nbytes(), tensor)  # kept alive: no pointer twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = make_loss()
    return loss, sum(size for pointer, (size, _) in found.items() if pointer not in own)


@pytest.mark.parametrize("width", [3, 50])
def test_the_graph_holds_what_the_hooks_count(width):
    net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU())
    x = torch.randn(32, 4)
    loss, counted = hooked_bytes(lambda: net(x).square().mean(), net.parameters())
    assert saved_bytes(loss) == counted
    assert counted > 32 * width * 4


def test_saved_tensors_of_a_python_function_count():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x.clone())
            return x**3

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g

    x = torch.randn(100, requires_grad=True)
    assert saved_bytes(Cube.apply(x).sum()) == 400


def test_functions_inside_torch_func_are_seen():
    # where saved-tensor hooks raise
    w = torch.randn(5, 5, requires_grad=True)
    x = torch.randn(64, 5)
    y, vjp = torch.func.vjp(lambda z: torch.tanh(z @ w), x)
    assert saved_bytes(vjp(torch.ones_like(y))[0].sum()) >= 64 * 5 * 4


@pytest.mark.parametrize("kind", ["zero of forward mode", "sparse"])
def test_tensors_without_a_storage_count_as_nothing(kind):
    x, w = torch.randn(6, 5, requires_grad=True), torch.randn(5, 5, requires_grad=True)
    if kind == "sparse":
        loss = torch.sparse.mm(torch.eye(6).to_sparse(), torch.tanh(x @ w)).sum()
    else:
        t = torch.ones(())
        tangents = torch.ones_like(t), x
        loss = torch.func.jvp(lambda t, x: t * (x @ w + w[0]).tanh(), (t, x), tangents)[1].sum()
    assert saved_bytes(loss) > 0


def test_peak_memory_is_that_of_a_process():
    assert 50 < peak_mib(torch.device("cpu")) < 100_000
