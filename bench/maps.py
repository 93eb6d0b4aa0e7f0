"""Time and memory of every control map, beside the raw OpenCV calls that do the same job (the floor).

Run with `python bench/maps.py`. One core. Floor and map take turns, so that a busy machine slows both; figures are
medians. Memory is the peak of NumPy and OpenCV arrays during the call, as a multiple of the decoded picture; buffers
that OpenCV frees inside one of its calls are not seen.
"""

import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

from controlnet_mcp.images.maps import KNOBS, make_map
from controlnet_mcp.images.maps.arrays import Levels, Rgb

SIDES_PIXELS = (512, 1024, 2048)
ROUNDS = {512: 25, 1024: 11, 2048: 7}


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


FLOORS: dict[str, Callable[[Rgb], object]] = {
    "canny": _canny,
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
}


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def _peak_bytes(call: Callable[[], object]) -> int:
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _row(rgb: Rgb, modality: str) -> str:
    """One line of the table: modality, side, floor, map, ratio, peak memory."""
    side = len(rgb)
    turns = [
        (_milliseconds(lambda: FLOORS[modality](rgb)), _milliseconds(lambda: make_map(rgb, modality)))
        for _ in range(ROUNDS[side] + 1)
    ][1:]
    floor, ours = (statistics.median(times) for times in zip(*turns, strict=True))
    memory = _peak_bytes(lambda: make_map(rgb, modality)) / rgb.nbytes
    return f"{modality:12} {side:5} {floor:9.2f} {ours:9.2f} {ours / floor:7.2f} {memory:8.1f}"


def main() -> None:
    """Print the table for every map and size."""
    assert set(FLOORS) == set(KNOBS)
    cv2.setNumThreads(1)
    photo = np.asarray(Image.open(Path(data.__file__).with_name("astronaut.png")), dtype=np.uint8)
    print(f"OpenCV {cv2.__version__}, NumPy {np.__version__}, one core; floor = raw OpenCV calls for the same map")
    print(f"{'modality':12} {'px':>5} {'floor ms':>9} {'map ms':>9} {'ratio':>7} {'memory':>8}")
    for modality in KNOBS:
        for side in SIDES_PIXELS:
            rgb = cv2.resize(photo, (side, side), interpolation=cv2.INTER_CUBIC)
            print(_row(np.asarray(rgb, dtype=np.uint8), modality))


if __name__ == "__main__":
    main()
