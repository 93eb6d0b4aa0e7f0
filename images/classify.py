"""Classifying a picture by its looks: a plain picture, a drawing, a control map of some kind, or blank.

Maps are told apart from pictures by measured traits; each limit lies between the two measurements in brackets: the
nearest plain picture and the nearest map of the labelled set. Imported lazily: it brings NumPy and OpenCV.
"""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from controlnet_mcp.images.maps.arrays import HALF, Rgb, channel_spread, disc, luminance, resized, strongest_channel
from controlnet_mcp.images.maps.drawing import find_ground
from controlnet_mcp.images.modalities import Appearance

BLANK_LEVELS = 12
"""Levels in every channel by which grain may differ from the commonest level."""
BLANK_SHARE = 0.0005
"""With fewer pixels than this beside the ground, there is nothing to keep."""
COLOURLESS_LEVELS = 12
"""Levels of colour that JPEG leaves in a grey picture."""
ONE_PIXEL_WIDE = 0.04
"""Most of a thin edge map that is left when its lines lose a pixel on either side [edges 0.00; sketches 0.06]."""
PAINTED_SHARE = 0.85
"""Least fraction of a segmentation map that is in the colours of one palette (black counts as no class)."""
PAINTED_LEVELS = 8
"""Levels in any channel by which JPEG shifts flat colours."""
FLAT_SHARE = 0.7
"""Least fraction of neighbours on the grid that have the same colour."""
SAMPLED_PIXELS = 128
"""Colours are counted on a grid of about this many rows and columns, without blending."""
VIVID_LEVELS = 100
"""Least levels between the channels of a vivid colour."""
VIVID_SHARE = 0.05
"""Least fraction of a segmentation map in vivid colours: greys are in the palettes too, and prove nothing."""
_ADE20K = """
787878 b47878 06e6e6 503232 04c803 787850 8c8c8c cc05ff e6e6e6 04fa07 e005ff ebff07 96053d 787846 08ff33 ff0652 8fff8c
ccff04 ff3307 cc4603 0066c8 3de6fa ff0633 0b66ff ff0747 ff09e0 0907e6 dcdcdc ff095c 7009ff 08ffd6 07ffe0 ffb806 0aff47
ff290a 07ffff e0ff08 6608ff ff3d06 ffc207 ff7a08 00ff14 ff0829 ff0599 0633ff eb0cff a09614 00a3ff 8c8c8c fa0a0f 14ff00
1fff00 ff1f00 ffe000 99ff00 0000ff ff4700 00ebff 00adff 1f00ff 0bc8c8 ff5200 00fff5 003dff 00ff70 00ff85 ff0000 ffa300
ff6600 c2ff00 008fff 33ff00 0052ff 00ff29 00ffad 0a00ff adff00 00ff99 ff5c00 ff00ff ff00f5 ff0066 ffad00 ff0014 ffb8b8
001fff 00ff3d 0047ff ff00cc 00ffc2 00ff52 000aff 0070ff 3300ff 00c2ff 007aff 00ffa3 ff9900 00ff0a ff7000 8fff00 5200ff
a3ff00 ffeb00 08b8aa 8500ff 00ff5c b800ff ff001f 00b8ff 00d6ff ff0070 5cff00 00e0ff 70e0ff 46b8a0 a300ff 9900ff 47ff00
ff00a3 ffcc00 ff008f 00ffeb 85ff00 ff00eb f500ff ff007a fff500 0abed4 d6ff00 00ccff 1400ff ffff00 0099ff 0029ff 00ffcc
2900ff 29ff00 ad00ff 00f5ff 4700ff 7a00ff 00ffb8 005cff b8ff00 0085ff ffd600 19c2c2 66ff00 5c00ff
"""
"""The 150 classes of ADE20K as MMSegmentation and the reference ControlNet annotators paint them, in hexadecimal."""

_CITYSCAPES = """
804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e 000046 003c64
005064 0000e6 770b20
"""
"""The 19 classes of Cityscapes that are trained on."""


def palettes() -> tuple[Rgb, ...]:
    """The palettes of ADE20K, Cityscapes and PASCAL VOC, each of shape (classes, 3), without black."""
    # VOC deals the bits of a class's number to red, green and blue from the top
    voc = bytes(
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8))
        for index, channel in product(range(1, 21), range(3))
    )
    tables = (bytes.fromhex(_ADE20K), bytes.fromhex(_CITYSCAPES), voc)
    return tuple(np.frombuffer(table, dtype=np.uint8).reshape(-1, 3) for table in tables)


@dataclass(frozen=True, slots=True)
class Traits:
    """Measured traits of a picture.

    Attributes:
        colour: Levels between the strongest and the weakest channel that 99 % of the pixels stay within.
        black: Fraction of pixels below 24 levels in all channels.
        thin: Fraction of the light that is in thin things.
        contrast: Levels between the darkest and the brightest hundredth.
        ground: Twentieth percentile of brightness and median, as fractions of the brightest hundredth.
        ridged: Skewness of the fine detail: above 0 where bright ridges stand on darker ground, about 0 in photos.
        grain: Median of the second differences along both axes, in levels: 0 in what was computed, 2 and more in
            what a camera saw.
        vivid: Fraction of the lit pixels that have a strong colour.
        hues: How many twelfths of the colour circle hold 2 % of these each.
    """

    colour: float
    black: float
    thin: float
    contrast: float
    ground: tuple[float, float]
    ridged: float
    grain: float
    vivid: float
    hues: int

    @property
    def skeleton(self) -> bool:
        """Thin limbs of many vivid colours on black."""
        # [stars on black are thin to 0.62 and pale; skeletons 0.92]
        return self.black > 0.75 and self.thin > 0.8 and self.vivid > 0.6 and self.hues >= 4  # noqa: PLR2004

    @property
    def lines(self) -> bool:
        """Thin light lines on black, or soft contours: ridges whose ground is black at least in a twentieth."""
        darkest, middle = self.ground
        # [stars on black: thin 0.64, ground 0.08; drawings 0.71, or 0.55 on 0.00]
        crisp = (self.thin > 0.68 and middle < 0.3) or (self.thin > 0.45 and middle < 0.02)  # noqa: PLR2004
        # [stars: ground 0.046, ridged 4.8; contours 0.028, 2.7]
        return crisp or (self.thin > 0.2 and 0.9 < self.ridged < 4.0 and darkest < 0.035 and middle < 0.2)  # noqa: PLR2004

    @property
    def depth(self) -> bool:
        """Smooth, without thin things, stretched over most of the range."""
        # [blurred photos: contrast 112; depth: thin 0.006, grain 0, contrast 136]
        return self.thin < 0.02 and self.grain <= 1 and self.contrast > 120  # noqa: PLR2004


def traits_of(rgb: Rgb) -> Traits:
    """Measure a picture at no more than 384 px, by area averaging."""
    scale = min(1.0, 384 / max(rgb.shape[:2]))  # lines may fade, but keep their share of the light
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    small = resized(rgb, size)
    strongest = strongest_channel(small)
    spread_of_channels = channel_spread(small)
    grey = luminance(small)
    darkest, twentieth, middle, brightest = (float(level) for level in np.percentile(grey, (1, 5, 50, 99)))

    radius = max(2, round(max(strongest.shape) * 0.015))  # of a disc that does not fit into what is thin
    thin = cv2.subtract(strongest, cv2.morphologyEx(strongest, cv2.MORPH_OPEN, disc(radius)))

    levels = grey.astype(np.float32)
    detail = cv2.subtract(levels, cv2.GaussianBlur(levels, (0, 0), max(1.0, max(grey.shape) * 0.01)))
    squared = cv2.multiply(detail, detail)
    spread = cv2.mean(squared)[0]
    second_difference = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)

    lit = strongest > 48  # noqa: PLR2004  # levels: above the ringing of JPEG
    vivid = lit & (spread_of_channels > 0.6 * strongest)
    hue = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 0][vivid]
    pixels_of_hue = np.bincount(hue.astype(np.int64) // 15, minlength=12)
    return Traits(
        colour=float(np.percentile(spread_of_channels, 99)),
        black=float(np.mean(strongest < 24)),  # noqa: PLR2004  # levels: above the ringing of JPEG
        thin=float(cv2.sumElems(thin)[0]) / max(1.0, float(cv2.sumElems(strongest)[0])),
        contrast=brightest - darkest,
        ground=(twentieth / max(1.0, brightest), middle / max(1.0, brightest)),
        ridged=cv2.mean(cv2.multiply(squared, detail))[0] / spread**1.5 if spread else 0.0,
        grain=float(np.median(np.abs(cv2.filter2D(grey, cv2.CV_32F, second_difference)))),
        vivid=float(vivid.sum() / max(1, lit.sum())),
        hues=int((pixels_of_hue > 0.02 * hue.size).sum()),
    )


def stroke_survival(rgb: Rgb) -> float:
    """The fraction of bright pixels left when lines lose a pixel on either side: next to none of edges one pixel wide.

    Looks at the picture in its own size.
    """
    bright = np.asarray(cv2.threshold(luminance(rgb), HALF, 1, cv2.THRESH_BINARY)[1], dtype=np.uint8)
    left = cv2.erode(bright, np.ones((3, 3), dtype=np.uint8))
    return cv2.countNonZero(left) / max(1, cv2.countNonZero(bright))


def is_painted(rgb: Rgb) -> bool:
    """Tell whether nearly all is in the flat colours of a known palette, some of them vivid."""
    step = max(1, max(rgb.shape[:2]) // SAMPLED_PIXELS)
    grid = np.asarray(rgb[::step, ::step], dtype=np.int16)
    change: npt.NDArray[np.int16] = np.abs(grid[:, 1:] - grid[:, :-1]).max(axis=2)
    if not change.size or float(np.mean(change <= PAINTED_LEVELS)) < FLAT_SHARE:
        return False
    pixels: npt.NDArray[np.int16] = grid[grid.max(axis=2) > PAINTED_LEVELS]
    colourful: npt.NDArray[np.int16] = pixels.max(axis=1) - pixels.min(axis=1)
    if not colourful.size or float(np.mean(colourful > VIVID_LEVELS)) < VIVID_SHARE:
        return False
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    for colours in palettes():
        away = np.abs(values[:, None, :] - colours[None].astype(np.int16)).max(axis=2).min(axis=1)
        if float(counts[away <= PAINTED_LEVELS].sum() / counts.sum()) > PAINTED_SHARE:
            return True
    return False


def is_blank(rgb: Rgb) -> bool:
    """Tell whether next to nothing stands out from the commonest level of each channel."""
    channels = range(3)
    middle = np.array([cv2.calcHist([rgb], [channel], None, [256], [0, 256]).argmax() for channel in channels])
    low, high = np.clip(middle - BLANK_LEVELS, 0, 255), np.clip(middle + BLANK_LEVELS, 0, 255)
    ground = cv2.countNonZero(cv2.inRange(rgb, low.astype(np.float64), high.astype(np.float64)))
    return bool(rgb.shape[0] * rgb.shape[1] - ground < BLANK_SHARE * rgb.shape[0] * rgb.shape[1])


def appearance_of(rgb: Rgb) -> Appearance:
    """Classify a picture of any size by its looks.

    CPU-bound, a few milliseconds: call it in a thread. On the labelled set of tests/images/test_classify.py 95 % and
    more are classified right, and no photo is ever blank.
    """
    if is_blank(rgb):
        return "blank"
    traits = traits_of(rgb)
    if traits.skeleton:
        return "skeleton"
    if traits.colour > COLOURLESS_LEVELS and is_painted(rgb):
        return "segmentation"
    if traits.colour <= COLOURLESS_LEVELS and traits.lines:
        return "edge" if stroke_survival(rgb) < ONE_PIXEL_WIDE else "sketch"
    if find_ground(rgb) == "light":
        return "drawing"
    return "depth" if traits.colour <= COLOURLESS_LEVELS and traits.depth else "picture"
