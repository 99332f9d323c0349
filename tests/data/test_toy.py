import pytest
import torch

from node_runner.data.randomness import stream
from node_runner.data.toy import SETS, sample

CPU = torch.device("cpu")


def draw(name, n=20_000, seed=0):
    return sample(name, n, stream(CPU, seed))


@pytest.mark.parametrize("name", list(SETS))
@pytest.mark.parametrize("n", [1, 7, 100])
def test_any_number_of_finite_points(name, n):
    points = draw(name, n)
    assert points.shape == (n, 2)
    assert points.dtype == torch.float32
    assert points.isfinite().all()


@pytest.mark.parametrize("name", list(SETS))
def test_the_mass_lies_in_the_square_that_is_drawn(name):
    assert (draw(name).abs() < 5).all(dim=1).float().mean() > 0.999


def test_eight_gaussians_have_the_moments_of_their_mixture():
    # centres at radius 4, sd 0.5 per axis, all over 1.414: E|x|^2 = (16 + 2 / 4) / 1.414^2
    x = draw("8gaussians", 200_000).double()
    assert x.mean(0).abs().max() < 0.02
    assert x.square().sum(1).mean().item() == pytest.approx(16.5 / 1.414**2, rel=5e-3)


def test_checkerboard_fills_alternate_cells_evenly():
    cells = (draw("checkerboard", 160_000) / 2 + 2).floor().long()
    counts = torch.zeros(4, 4).index_put_((cells[:, 0], cells[:, 1]), torch.tensor(1.0), True)
    black = (torch.arange(4)[:, None] + torch.arange(4)) % 2 == 0
    assert counts[~black].sum() == 0 or counts[black].sum() == 0
    full = counts[counts > 0]
    assert len(full) == 8
    assert (full / 20_000 - 1).abs().max() < 0.05


@pytest.mark.parametrize(
    ("name", "radii"), [("rings", (0.75, 1.5, 2.25, 3.0)), ("circles", (1.5, 3.0))]
)
def test_rings_lie_on_their_radii_in_equal_parts(name, radii):
    distance = (draw(name).norm(dim=1)[:, None] - torch.tensor(radii)).abs()
    nearest = distance.argmin(1)
    share = torch.bincount(nearest, minlength=len(radii)) / len(nearest)
    assert (share - 1 / len(radii)).abs().max() < 0.02
    noise = 0.08 if name == "rings" else 0.24
    spread = distance.min(1).values.square().mean().sqrt()
    assert spread.item() == pytest.approx(noise, rel=0.1)


def test_two_spirals_are_point_symmetric_and_pinwheel_has_five_arms():
    spirals = draw("2spirals", 100_000)
    assert spirals.mean(0).abs().max() < 0.02
    arms = draw("pinwheel", 200_000)
    turn = torch.tensor(2 * torch.pi / 5)
    c, s = turn.cos(), turn.sin()
    turned = arms @ torch.stack((torch.stack((c, s)), torch.stack((-s, c))))
    edges = torch.linspace(-4, 4, 9)
    counts = [torch.histogramdd(points, [edges, edges]).hist.flatten() for points in (arms, turned)]
    assert (counts[0] - counts[1]).abs().sum() / 200_000 < 0.03
