"""A labelled set of pictures for the checks: plain photos, drawings, control maps and blank sheets, made here.

Photos are those that scikit-image carries in its wheel (public domain or free), each as it is and changed in ways that
happen to pictures. Maps are made by our own map makers or painted.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage import data

from controlnet_mcp.images.maps import MapParameters
from controlnet_mcp.images.maps.recipes import make_map
from tests.support import sample_drawings

Rgb: TypeAlias = npt.NDArray[np.uint8]
Change: TypeAlias = Callable[[Rgb], Rgb]
Labelled: TypeAlias = tuple[str, str, Rgb]
"""What it is, a name, the picture."""

PHOTOS = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png"),
    *("page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
SKETCHES = (sample_drawings.house, sample_drawings.vase, sample_drawings.street, sample_drawings.face)
LONG_SIDE = 320


@cache
def bundled(file: str) -> Rgb:
    """A picture of scikit-image's, at most 320 px long."""
    rgb = np.asarray(Image.open(Path(data.__file__).with_name(file)).convert("RGB"), dtype=np.uint8)
    scale = min(1.0, LONG_SIDE / max(rgb.shape[:2]))
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def jpeg(rgb: Rgb, quality: int = 75) -> Rgb:
    """A picture after JPEG."""
    coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def grey(rgb: Rgb) -> Rgb:
    """A picture without colour."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8)


def _brightness(rgb: Rgb, gain: float) -> Rgb:
    return np.asarray(cv2.convertScaleAbs(rgb, alpha=gain), dtype=np.uint8)


def _crop(rgb: Rgb) -> Rgb:
    height, width = rgb.shape[:2]
    return np.ascontiguousarray(rgb[height // 5 : height * 4 // 5, width // 4 :])


PHOTO_CHANGES: tuple[Change, ...] = (
    lambda rgb: rgb,
    _crop,
    lambda rgb: np.ascontiguousarray(rgb[:, ::-1]),
    lambda rgb: jpeg(rgb, 40),
    grey,
    lambda rgb: jpeg(grey(rgb)),
    lambda rgb: _brightness(rgb, 0.35),
    lambda rgb: _brightness(rgb, 1.5),
    lambda rgb: np.asarray(cv2.resize(rgb, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC), dtype=np.uint8),
)
MAP_CHANGES: tuple[Change, ...] = (
    lambda rgb: rgb,
    lambda rgb: jpeg(np.ascontiguousarray(rgb[::-1])),
)


def photos() -> Iterator[Labelled]:
    """Photos, each changed in every way."""
    for file in PHOTOS:
        for number, change in enumerate(PHOTO_CHANGES):
            yield "picture", f"{file}/{number}", change(bundled(file))


def sketches() -> Iterator[Labelled]:
    """Drawings in ink on white and on toned paper: pictures to take lines from, no maps."""
    for draw in SKETCHES:
        page = draw(LONG_SIDE)
        toned = np.asarray(page * np.array([0.96, 0.91, 0.80]), dtype=np.uint8)
        grainy = np.clip(toned + np.random.default_rng(3).normal(0, 4, page.shape), 0, 255).astype(np.uint8)
        for number, picture in enumerate((page, toned, grainy, jpeg(page))):
            yield "picture", f"{draw.__name__}/{number}", picture


def _line_maps() -> Iterator[Labelled]:
    subjects = {file: bundled(file) for file in PHOTOS[::4]} | {draw.__name__: draw(LONG_SIDE) for draw in SKETCHES}
    for (name, rgb), modality in itertools.product(subjects.items(), ("canny", "mlsd")):
        yield "edge", f"{name}/{modality}", make_map(rgb, modality, MapParameters()).rgb
    for (name, rgb), modality in itertools.product(subjects.items(), ("scribble", "sketch", "lineart", "softedge")):
        yield "sketch", f"{name}/{modality}", make_map(rgb, modality).rgb


def _skeletons() -> Iterator[Labelled]:
    figure = sample_drawings.skeleton(LONG_SIDE)
    pair = np.maximum(np.roll(figure, -80, axis=1), np.roll(figure[:, ::-1], 90, axis=1))
    small = np.zeros_like(figure)
    small[80:208, 100:228] = cv2.resize(figure, (128, 128), interpolation=cv2.INTER_AREA)
    for number, picture in enumerate((figure, sample_drawings.skeleton(768), pair, small)):
        yield "skeleton", f"skeleton/{number}", picture


def _ramp(seed: int) -> Rgb:
    """A floor that comes nearer, and some round and boxy things before it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:LONG_SIDE, 0:LONG_SIDE].astype(np.float32) / LONG_SIDE
    depth: npt.NDArray[np.float64] = 20 + 120 * y + 30 * x * random.random()
    for _ in range(5):
        cx, cy, radius, near = (
            random.random(),
            random.random(),
            0.08 + 0.15 * random.random(),
            60 + 190 * random.random(),
        )
        distance = np.hypot(x - cx, y - cy) if random.random() < 0.5 else np.maximum(abs(x - cx), abs(y - cy))
        depth = np.where(distance < radius, near - 60 * distance / radius, depth)
    return np.repeat(np.clip(depth, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _depths() -> Iterator[Labelled]:
    with np.load(Path(data.__file__).with_name("motorcycle_disp.npz")) as archive:
        disparity: npt.NDArray[np.float32] = np.nan_to_num(np.asarray(archive["arr_0"], dtype=np.float32), posinf=0.0)
    measured: Rgb = np.clip(disparity * (255 / disparity.max()), 0, 255).astype(np.uint8)
    shrunk = np.asarray(cv2.resize(measured, (LONG_SIDE, 256), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    filled = np.asarray(cv2.medianBlur(shrunk, 9), dtype=np.uint8)
    yield "depth", "motorcycle", np.repeat(filled[..., None], 3, axis=2)
    yield "depth", "drawn", sample_drawings.depth_map(LONG_SIDE)
    for seed in range(6):
        yield "depth", f"ramp/{seed}", _ramp(seed)


def _segmentations() -> Iterator[Labelled]:
    drawn = sample_drawings.segmentation(LONG_SIDE)
    colours = np.unique(sample_drawings.segmentation(64).reshape(-1, 3), axis=0)
    yield "segmentation", "drawn", drawn
    for seed in range(6):
        random = np.random.default_rng(seed)
        points = random.random((5 + seed, 2)) * LONG_SIDE
        rows, columns = np.mgrid[0:LONG_SIDE, 0:LONG_SIDE]
        nearest = ((rows[..., None] - points[:, 0]) ** 2 + (columns[..., None] - points[:, 1]) ** 2).argmin(axis=2)
        picked = colours[random.integers(0, len(colours), len(points))]
        picked[0] = (4, 200, 3)
        yield "segmentation", f"areas/{seed}", np.ascontiguousarray(picked[nearest])


def maps() -> Iterator[Labelled]:
    """Control maps of every kind, as they are, and upside down after JPEG; blank ones left out."""
    every = itertools.chain(_line_maps(), _skeletons(), _depths(), _segmentations())
    for kind, name, rgb in every:
        if np.mean(rgb.max(axis=2) > 127) < 0.001:  # a thousandth of the pixels: nothing was found
            continue
        for number, change in enumerate(MAP_CHANGES):
            yield kind, f"{name}/{number}", change(rgb)


def blanks() -> Iterator[Labelled]:
    """Sheets with nothing on them, or next to nothing."""
    for level in (0, 3, 128, 255):
        sheet = np.full((200, 300, 3), level, dtype=np.uint8)
        yield "blank", f"{level}", sheet
        grain = np.random.default_rng(level).normal(0, 1.5, sheet.shape)
        yield "blank", f"{level} with grain", np.clip(sheet + grain, 0, 255).astype(np.uint8)
        speck = sheet.copy()
        speck[50:53, 60:63] = 200
        yield "blank", f"{level} with a speck", speck
