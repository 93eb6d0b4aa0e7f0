"""Depth of a photo by the user's own model, drawn as ControlNet wants it: near is white.

The model is one for relative depth as Depth-Anything (V1, V2) and MiDaS (v2.1) are exported to ONNX: one input of shape
(1, 3, rows, columns) with ImageNet's normalisation, one output of shape (1, rows, columns) or (1, 1, rows, columns) in
which nearer is larger.
"""

from pathlib import Path

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb
from controlnet_mcp.images.maps.models import model_unusable
from controlnet_mcp.images.maps.sessions import Model, Tensor, open_model

SHORT_SIDE_PIXELS = 518
"""Where the model takes any size: Depth-Anything's own, for the shorter side."""
PATCH_PIXELS = 14
"""Both sides are multiples of this: the patch of the DINOv2 encoder."""
MEAN = (0.485, 0.456, 0.406)
"""ImageNet's mean of red, green and blue, as fractions of full brightness."""
DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's standard deviation, likewise."""
LIKE_ASPECT = 1.1
"""By what factor the aspect of the output may differ from that of the input."""
WIDEST_ASPECT = 4.0
"""A longer strip is squeezed to this, or its input would take gigabytes."""


def _input_size(rgb: Rgb, model: Model) -> tuple[int, int]:
    """Columns and rows that the model gets: its own, else near 518 on the shorter side with the picture's aspect."""
    height, width = rgb.shape[:2]
    short = min(height, width)
    rows, columns = (
        max(PATCH_PIXELS, round(SHORT_SIDE_PIXELS * min(side / short, WIDEST_ASPECT) / PATCH_PIXELS) * PATCH_PIXELS)
        for side in (height, width)
    )
    return model.columns or columns, model.rows or rows


def normalised(rgb: Rgb, size: tuple[int, int]) -> Tensor:
    """The picture as a batch of one, shape (1, 3, rows, columns), with ImageNet's mean and deviation."""
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    small *= np.float32(1 / 255)
    small -= np.array(MEAN, dtype=np.float32)
    small /= np.array(DEVIATION, dtype=np.float32)
    return np.ascontiguousarray(small.transpose(2, 0, 1)[None])


def _plane(output: Tensor, aspect: float) -> Levels:
    """The output as one plane, which may be coarser than the input but has its aspect (rows by columns)."""
    *batch, rows, columns = output.shape if output.ndim > 1 else (0, 0)
    like = 1 / LIKE_ASPECT <= rows / max(columns, 1) / aspect <= LIKE_ASPECT
    if not like or set(batch) != {1} or not np.isfinite(output).all():
        raise model_unusable("depth", f"its output of shape {output.shape} is not one number for each pixel")
    return np.asarray(output.reshape(rows, columns), dtype=np.float32)


def depth_levels(rgb: Rgb, path: Path) -> Levels:
    """Relative depth at the size of the picture: 0 is the farthest point, 255 the nearest; all 0 where it is flat.

    Raises:
        RequestError: `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` when the file is no such model.
    """
    model = open_model("depth", path)
    columns, rows = _input_size(rgb, model)
    output = _plane(model.run(normalised(rgb, (columns, rows)))[0], rows / columns)
    farthest, nearest = float(output.min()), float(output.max())
    if nearest <= farthest:
        return np.zeros(rgb.shape[:2], dtype=np.float32)
    levels = np.asarray((output - farthest) * (255.0 / (nearest - farthest)), dtype=np.float32)
    grown = cv2.resize(levels, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, dtype=np.float32)


def depth(rgb: Rgb, path: Path) -> Plane:
    """The depth map of a photo: near is white. Raises as `depth_levels`."""
    return np.asarray(cv2.convertScaleAbs(depth_levels(rgb, path)), dtype=np.uint8)
