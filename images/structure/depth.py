"""RMSE between depth maps, which know depth only up to scale and offset."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb
from controlnet_mcp.images.structure.values import Figures

DepthOf: TypeAlias = Callable[[Rgb], Levels]
"""A depth model: a picture to its depth, shape (height, width), larger is nearer, in any scale."""

FLAT = 0.01
"""Deviation, as a fraction of the range, below which a depth map has no structure."""


def compare_depth(asked: Levels | Plane, found: Levels) -> Figures | None:
    """Compare depths of one shape after the best fit in scale and offset (MiDaS; Ranftl et al. 2020).

    Returns:
        RMSE as a fraction of the asked range, 0 to 1 and lower is better; the score is the part of the asked variance
        that is explained. None when the asked depth is flat.
    """
    wanted = asked.astype(np.float32)
    wanted = (wanted - wanted.min()) / max(float(np.ptp(wanted)), 1e-6)
    spread = float(wanted.std())
    if spread < FLAT:
        return None
    alike = float(np.corrcoef(wanted.ravel(), found.ravel())[0, 1]) if float(found.std()) > 0 else 0.0
    explained = min(1.0, max(0.0, alike) ** 2)
    return Figures(spread * (1 - explained) ** 0.5, explained)
