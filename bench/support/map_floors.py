"""What the control maps are measured against in `bench/maps.py`: the raw OpenCV and NumPy calls for the same map."""

from collections.abc import Callable

import cv2
import numpy as np

from controlnet_mcp.images.maps.arrays import Levels, Rgb

AUTOMATIC = "canny auto"
"""Canny with thresholds that are chosen from the picture."""


def _floats(picture: Rgb) -> Levels:
    return np.asarray(picture, dtype=np.float32)


def _blurred(levels: Levels, sigma: float) -> Levels:
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma), dtype=np.float32)


def _least(levels: Levels) -> Levels:
    red, green, blue = cv2.split(levels)
    return np.asarray(cv2.min(cv2.min(red, green), blue), dtype=np.float32)


def _expanded(plane: cv2.typing.MatLike) -> object:
    return cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB)


def _canny(rgb: Rgb) -> object:
    return _expanded(cv2.Canny(rgb, 100, 200))


def _scribble(rgb: Rgb) -> object:
    levels = _floats(rgb)
    least = _least(np.asarray(cv2.subtract(_blurred(levels, 5.0), _blurred(levels, 0.5)), dtype=np.float32))
    return _expanded(cv2.threshold(least, 16, 255, cv2.THRESH_BINARY)[1].astype(np.uint8))


def _sketch(rgb: Rgb) -> object:
    levels = _floats(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8))
    around = _blurred(levels, 3.0)
    darker = cv2.divide(cv2.subtract(around, _blurred(levels, 1.0)), around + np.float32(32), scale=1275.0)
    return _expanded(cv2.convertScaleAbs(np.maximum(darker - np.float32(40), 0)))


def _lineart(rgb: Rgb) -> object:
    levels = _floats(rgb)
    least = _least(np.asarray(cv2.subtract(_blurred(levels, 6.0), levels), dtype=np.float32))
    strength = max(16.0, float(np.median(least[least > 8])))
    return _expanded(cv2.convertScaleAbs(np.maximum(least, 0), alpha=127.0 / strength))


def _steep(picture: cv2.typing.MatLike) -> cv2.typing.MatLike:
    across, down = cv2.Scharr(picture, cv2.CV_32F, 1, 0), cv2.Scharr(picture, cv2.CV_32F, 0, 1)
    red, green, blue = cv2.split(cv2.magnitude(across, down))
    return cv2.max(cv2.max(red, green), blue)


def _softedge(rgb: Rgb) -> object:
    full = cv2.GaussianBlur(rgb, (0, 0), 1.0)
    half = cv2.pyrDown(full)
    total = cv2.add(_steep(half), cv2.resize(_steep(cv2.pyrDown(half)), half.shape[1::-1]))
    total = cv2.add(_steep(full), cv2.resize(total, full.shape[1::-1]))
    step = max(1, len(total) // 256)
    return _expanded(cv2.convertScaleAbs(total, alpha=255.0 / float(np.percentile(total[::step, ::step], 99))))


def _mlsd(rgb: Rgb) -> object:
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    found = cv2.createLineSegmentDetector().detect(gray)[0]
    ends = found.reshape(-1, 2, 2).astype(np.int32)
    return _expanded(cv2.polylines(np.zeros_like(gray), list(ends), isClosed=False, color=255))


def _grown(small: cv2.typing.MatLike, rgb: Rgb) -> object:
    return cv2.resize(small, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_CUBIC)


def _quarter(rgb: Rgb) -> cv2.typing.MatLike:
    return cv2.resize(rgb, (rgb.shape[1] // 4, rgb.shape[0] // 4), interpolation=cv2.INTER_AREA)


def _low_quality(rgb: Rgb) -> object:
    jpeg = cv2.imencode(".jpg", _quarter(rgb), (cv2.IMWRITE_JPEG_QUALITY, 25))[1]
    return _grown(np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), dtype=np.uint8), rgb)


def _shuffle(rgb: Rgb) -> object:
    height, width = rgb.shape[:2]
    random = np.random.default_rng(0)
    flow: list[cv2.typing.MatLike] = []
    for extent in (width, height):
        grid = random.random((height // 256 + 2, width // 256 + 2))
        noise = cv2.resize(grid, (width + 512, height + 512), interpolation=cv2.INTER_CUBIC)[256:-256, 256:-256]
        flow.append(cv2.normalize(noise, np.empty(0), 0, extent - 1, cv2.NORM_MINMAX, cv2.CV_32F))
    return cv2.remap(rgb, flow[0], flow[1], cv2.INTER_LINEAR)


def _automatic(rgb: Rgb) -> object:
    across, down = (np.abs(cv2.Sobel(rgb, cv2.CV_16S, along, 1 - along)) for along in (1, 0))
    red, green, blue = cv2.split(cv2.add(across, down))
    high = min(float(np.percentile(cv2.max(cv2.max(red, green), blue), 90)), 255)
    return _expanded(cv2.Canny(rgb, high / 2, high))


def _normal(rgb: Rgb) -> object:
    depth = _floats(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), dtype=np.uint8))
    across, down = (cv2.Sobel(depth, cv2.CV_32F, along, 1 - along) for along in (1, 0))
    slopes = cv2.merge((across, down, np.full_like(depth, 6.28)))
    parts = slopes / np.sqrt(np.sum(slopes * slopes, axis=2, keepdims=True))
    return (parts * 127.5 + 127.5).astype(np.uint8)


def _color_grid(rgb: Rgb) -> object:
    cells = cv2.resize(rgb, (rgb.shape[1] // 64, rgb.shape[0] // 64), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(cells, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_NEAREST)


FLOORS: dict[str, Callable[[Rgb], object]] = {
    "canny": _canny,
    AUTOMATIC: _automatic,
    "scribble": _scribble,
    "sketch": _sketch,
    "lineart": _lineart,
    "softedge": _softedge,
    "mlsd": _mlsd,
    "tile": lambda rgb: _grown(_quarter(rgb), rgb),
    "blur": lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 9.0),
    "gray": lambda rgb: _expanded(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)),
    "low-quality": _low_quality,
    "shuffle": _shuffle,
    "color-grid": _color_grid,
    "normal": _normal,
}
