"""Flows of the papers, assembled from factories of fields and CNFs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from .bijections import Flatten, Logit, Planar, Squeeze
from .chain import Chain, Multiscale
from .cnf import CNF
from .flow import Flow

FieldFactory = Callable[..., nn.Module]
CNFFactory = Callable[..., CNF]


def stacked_cnf(cnf: CNFFactory, field: FieldFactory, dim: int, flows: int = 1) -> Flow:
    """Return ``flows`` CNFs on vectors of ``dim`` entries (Grathwohl et al. 2018, table 4).

    Args:
        cnf: Factory of a CNF, called with ``field``.
        field: Factory of f, called with ``dim``.

    Raises:
        ValueError: For a number below 1.
    """
    _check_count("flows", flows)
    _check_count("dim", dim)
    return Chain([cnf(field=field(dim=dim)) for _ in range(flows)])


def planar(dim: int, layers: int = 8) -> Flow:
    """Return a discrete normalizing flow of planar layers (Rezende and Mohamed 2015).

    Raises:
        ValueError: For a number below 1.
    """
    _check_count("dim", dim)
    _check_count("layers", layers)
    return Chain([Planar(dim) for _ in range(layers)])


def multiscale(
    cnf: CNFFactory,
    field: FieldFactory,
    shape: Sequence[int],
    flows: int = 2,
    scales: int | None = None,
    alpha: float = 0.05,
) -> Flow:
    """Return a logit followed by scales of ``flows`` CNFs, a squeeze, and ``flows`` CNFs, after
    which half of the channels are factored out; the last scale has its first CNFs only (Grathwohl
    et al. 2018, section 4.2).

    Args:
        cnf: Factory of a CNF, called with ``field``.
        field: Factory of f, called with ``channels``.
        shape: (C, H, W) of an image.
        scales: Number of scales (default: as many as halve the smaller side to at least 4 pixels).
            MNIST has 3, of 28, 14 and 7 pixels; CIFAR-10 has 4.
        alpha: Parameter of the logit.

    Raises:
        ValueError: For sizes that the scales cannot halve.
    """
    _check_count("flows", flows)
    c, h, w = _check_shape(shape)
    scales = _default_scales(h, w) if scales is None else scales
    _check_count("scales", scales)
    if h % 2 ** (scales - 1) or w % 2 ** (scales - 1):
        raise ValueError(
            f"scales is {scales}, which halves each side {scales - 1} times, and {h} x {w} pixels "
            "cannot be; choose fewer scales or crop the images to a multiple of "
            f"{2 ** (scales - 1)}"
        )

    parts, shapes = [], []
    for i in range(scales):
        steps = _image_cnfs(cnf, field, (c, h, w), flows)
        if i + 1 < scales:
            c, h, w = 4 * c, h // 2, w // 2
            steps += [Squeeze(), *_image_cnfs(cnf, field, (c, h, w), flows)]
        parts.append(Chain(steps))
        shapes.append((c, h, w))
        c //= 2
    return Chain([Logit(alpha), Multiscale(parts, shapes)], shape)


def single_scale(
    cnf: CNFFactory, field: FieldFactory, shape: Sequence[int], flows: int = 1, alpha: float = 0.05
) -> Flow:
    """Return a logit followed by ``flows`` CNFs on whole images (Grathwohl et al. 2018, section
    4.2, the encoder-decoder). Arguments as for ``multiscale``.

    Raises:
        ValueError: For an invalid shape.
    """
    _check_count("flows", flows)
    _check_shape(shape)
    return Chain([Logit(alpha), *_image_cnfs(cnf, field, shape, flows), Flatten(shape)], shape)


def _image_cnfs(
    cnf: CNFFactory, field: FieldFactory, shape: Sequence[int], flows: int
) -> list[Flow]:
    """Return CNFs on images of one shape.

    Raises:
        ValueError: If the field cannot halve the sides as often as it needs to.
    """
    fields = [field(channels=shape[0]) for _ in range(flows)]
    multiple = getattr(fields[0], "multiple", 1)
    if any(side % multiple for side in shape[1:]):
        raise ValueError(
            f"field halves sides to 1/{multiple} and back, and {shape[1]} x {shape[2]} pixels "
            f"cannot be: they must be multiples of {multiple}"
        )
    return [cnf(field=field) for field in fields]


def _default_scales(h: int, w: int) -> int:
    """Return one plus the number of halvings of both sides that leave at least 4 pixels."""
    scales, side = 1, min(h, w)
    while side % 2 == 0 and side // 2 >= 4:
        side, scales = side // 2, scales + 1
    return scales


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} is {value}, must be at least 1")


def _check_shape(shape: Sequence[int]) -> Sequence[int]:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape is {list(shape)}, must be channels, height and width")
    return shape
