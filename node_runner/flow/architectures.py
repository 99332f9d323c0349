"""The flows of the papers, from a field and a CNF that are still to be given their sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from .bijections import Flatten, Logit, Planar, Squeeze
from .chain import Chain, Multiscale
from .cnf import CNF
from .flow import Flow

Field = Callable[..., nn.Module]
MakeCNF = Callable[..., CNF]


def stack(cnf: MakeCNF, field: Field, dim: int, flows: int = 1) -> Flow:
    """``flows`` CNFs on vectors of ``dim`` entries (Grathwohl et al. 2018, table 4).

    Args:
        cnf: CNF without its field.
        field: f without its ``dim``.

    Raises:
        ValueError: for a number below 1.
    """
    check_count("flows", flows)
    check_count("dim", dim)
    return Chain([cnf(field=field(dim=dim)) for _ in range(flows)])


def planar(dim: int, layers: int = 8) -> Flow:
    """A discrete normalizing flow of planar layers (Rezende and Mohamed 2015).

    Raises:
        ValueError: for a number below 1.
    """
    check_count("dim", dim)
    check_count("layers", layers)
    return Chain([Planar(dim) for _ in range(layers)])


def multiscale(
    cnf: MakeCNF,
    field: Field,
    shape: Sequence[int],
    flows: int = 2,
    scales: int | None = None,
    alpha: float = 0.05,
) -> Flow:
    """logit, then scales of ``flows`` CNFs, a squeeze, and ``flows`` CNFs, each letting go of half
    its channels; the last scale has its first CNFs only (Grathwohl et al. 2018, section 4.2).

    Args:
        cnf: CNF without its field.
        field: f without its ``channels``.
        shape: (C, H, W) of an image.
        scales: how many; as many as the smaller side can be halved and stay at least 4 pixels
            unless given. MNIST has 3, of 28, 14 and 7 pixels; CIFAR-10 has 4.
        alpha: of the logit.

    Raises:
        ValueError: for sizes that the scales cannot halve.
    """
    check_count("flows", flows)
    c, h, w = check_shape(shape)
    scales = scales_of(h, w) if scales is None else scales
    check_count("scales", scales)
    if h % 2 ** (scales - 1) or w % 2 ** (scales - 1):
        raise ValueError(
            f"model.scales is {scales}, which halves each side {scales - 1} times, and "
            f"{h} x {w} pixels cannot be; choose fewer scales or crop the images to a multiple of "
            f"{2 ** (scales - 1)}"
        )

    parts, shapes = [], []
    for i in range(scales):
        steps = on_images(cnf, field, (c, h, w), flows)
        if i + 1 < scales:
            c, h, w = 4 * c, h // 2, w // 2
            steps += [Squeeze(), *on_images(cnf, field, (c, h, w), flows)]
        parts.append(Chain(steps))
        shapes.append((c, h, w))
        c //= 2
    return of_images([Logit(alpha), Multiscale(parts, shapes)], shape)


def single_scale(
    cnf: MakeCNF, field: Field, shape: Sequence[int], flows: int = 1, alpha: float = 0.05
) -> Flow:
    """logit, then ``flows`` CNFs on whole images (Grathwohl et al. 2018, section 4.2, the
    encoder-decoder). Arguments as those of ``multiscale``.

    Raises:
        ValueError: for a shape that is none.
    """
    check_count("flows", flows)
    check_shape(shape)
    cnfs = on_images(cnf, field, shape, flows)
    return of_images([Logit(alpha), *cnfs, Flatten(shape)], shape)


def on_images(cnf: MakeCNF, field: Field, shape: Sequence[int], flows: int) -> list[Flow]:
    """CNFs on images of one shape.

    Raises:
        ValueError: if the field cannot halve the sides as often as it wants to.
    """
    fields = [field(channels=shape[0]) for _ in range(flows)]
    multiple = getattr(fields[0], "multiple", 1)
    if any(side % multiple for side in shape[1:]):
        raise ValueError(
            f"model.field halves sides to a {multiple}th and back, and {shape[1]} x {shape[2]} "
            f"pixels cannot be: they must be multiples of {multiple}"
        )
    return [cnf(field=each) for each in fields]


def of_images(parts: Sequence[Flow], shape: Sequence[int]) -> Flow:
    flow = Chain(parts)
    flow.shape = tuple(shape)
    return flow


def scales_of(h: int, w: int) -> int:
    """Halvings of both sides that leave at least 4 pixels, and one."""
    scales, side = 1, min(h, w)
    while side % 2 == 0 and side // 2 >= 4:
        side, scales = side // 2, scales + 1
    return scales


def check_count(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"model.{name} is {value}, must be at least 1")


def check_shape(shape: Sequence[int]) -> Sequence[int]:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"model.shape is {list(shape)}, must be channels, height and width")
    return shape
