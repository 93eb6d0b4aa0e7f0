"""Depth of a photo by the user's own model, and the surface normals of a depth map, which are exact arithmetic.

The model is one for relative depth as Depth-Anything (V1, V2) and MiDaS (v2.1) are exported to ONNX: one input of shape
(1, 3, rows, columns) with ImageNet's normalisation, one output of shape (1, rows, columns) or (1, 1, rows, columns) in
which nearer is larger.
"""

from pathlib import Path

import cv2
import numpy as np

from controlnet_mcp.images.maps import model_unusable, open_model
from controlnet_mcp.images.maps.arrays import Levels, Plane, Rgb, channel_spread, strip_by_strip

PATCH_PIXELS = 14
"""Both sides are multiples of this: the patch of the DINOv2 encoder."""
MEAN = (0.485, 0.456, 0.406)
"""ImageNet's mean of red, green and blue, as fractions of full brightness."""
DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's standard deviation, likewise."""


def depth_levels(rgb: Rgb, path: Path) -> Levels:
    """Relative depth at the size of the picture: 0 is the farthest point, 255 the nearest; all 0 where it is flat.

    Raises:
        RequestError: `not_configured` when onnxruntime is not installed.
        ImageError: `not_configured` when the file is no such model.
    """
    model = open_model("depth", path)
    short = min(rgb.shape[:2])
    # where any size will do: Depth-Anything's shorter side of 518, and a strip squeezed to 4:1 against gigabytes
    rows, columns = (
        fixed or max(PATCH_PIXELS, round(518 * min(side / short, 4.0) / PATCH_PIXELS) * PATCH_PIXELS)
        for fixed, side in zip((model.rows, model.columns), rgb.shape[:2], strict=True)
    )
    small = np.asarray(cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_CUBIC), dtype=np.float32)
    small *= np.float32(1 / 255)
    small -= np.array(MEAN, dtype=np.float32)
    small /= np.array(DEVIATION, dtype=np.float32)
    output = model.run(np.ascontiguousarray(small.transpose(2, 0, 1)[None]))[0]
    *batch, found_rows, found_columns = output.shape if output.ndim > 1 else (0, 0)
    like = 1 / 1.1 <= found_rows / max(found_columns, 1) / (rows / columns) <= 1.1  # noqa: PLR2004  # about its aspect
    if not like or set(batch) != {1} or not np.isfinite(output).all():
        raise model_unusable("depth", f"its output of shape {output.shape} is not one number for each pixel")
    output = output.reshape(found_rows, found_columns)
    farthest, nearest = float(output.min()), float(output.max())
    if nearest <= farthest:
        return np.zeros(rgb.shape[:2], dtype=np.float32)
    levels = np.asarray((output - farthest) * (255.0 / (nearest - farthest)), dtype=np.float32)
    grown = cv2.resize(levels, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, dtype=np.float32)


def is_grey(rgb: Rgb) -> bool:
    """Tell whether a picture has no colour, as a depth map has none and a normal map always has."""
    spread = channel_spread(rgb)
    coloured = cv2.countNonZero(cv2.threshold(spread, 24, 255, cv2.THRESH_BINARY)[1])  # JPEG leaves a few levels
    return coloured <= 0.01 * spread.size


def normals(depth: Levels, background_threshold: float, flatness: float, red: str) -> Rgb:
    """The directions of the surface as colours: red sideways, green up, blue towards the viewer.

    The formula is that of ControlNet's MiDaS annotator (`MidasDetector`, sd-controlnet-normal): Sobel slopes of the
    depth as the sideways parts, a constant towards the viewer, scaled to length one and from -1..1 to 0..255, blue in
    front. There the depth is a network's raw output; here it is in levels of brightness.

    Nearer is larger, in any scale, but `flatness` (the constant; smaller makes slopes stand out) is in its units per
    pixel, times 8, Sobel's gain. What is farther than `background_threshold` of the range, 0 to 1, is flat. Red grows
    to the `left`, as in the reference, or to the `right`, as in OpenGL.
    """
    nearest, farthest = float(depth.max()), float(depth.min())
    limit = farthest + background_threshold * (nearest - farthest)
    sign = np.float32(-1.0 if red == "right" else 1.0)

    def normals_in(strip: Levels) -> Rgb:
        far = strip < limit
        across, down = (np.asarray(cv2.Sobel(strip, cv2.CV_32F, x, 1 - x), dtype=np.float32) for x in (1, 0))
        across[far] = 0
        down[far] = 0
        across *= sign
        ahead = np.full(strip.shape, flatness, dtype=np.float32)
        length = np.sqrt(across * across + down * down + ahead * ahead)
        channels: list[Plane] = []
        for part in (across, down, ahead):
            np.divide(part, length, out=part)
            np.multiply(part, np.float32(127.5), out=part)
            np.add(part, np.float32(127.5), out=part)
            channels.append(part.astype(np.uint8))  # rounded down, as the reference does
        return np.asarray(cv2.merge(channels), dtype=np.uint8)

    return strip_by_strip(depth, np.empty((*depth.shape, 3), dtype=np.uint8), normals_in, margin_rows=1)
