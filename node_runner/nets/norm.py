"""The normalisation of the image nets."""

from __future__ import annotations

from torch import nn

GROUPS = 32


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation of (B, C, H, W) with min(32, C) groups (Chen et al. 2018's code).

    Raises:
        ValueError: if the groups would not be equal.
    """
    groups = min(GROUPS, channels)
    if channels < 1 or channels % groups:
        raise ValueError(f"channels is {channels}, must be 1 to {GROUPS} or a multiple of {GROUPS}")
    return nn.GroupNorm(groups, channels)
