"""The meaning of a decoded picture's channels: the ground under transparency, the range of deep values, a mask's area.

A file is read as one of three things. A plain picture gets a ground on which its opaque pixels stand out. A depth map
is stretched to its own range, in which 0 counts as not measured. A mask becomes white where its picture is to be
repainted, whether its maker said that by alpha, by colour or by brightness. Imported lazily: it brings NumPy and
OpenCV.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images.maps.arrays import (
    HALF,
    Levels,
    Pixels,
    Plane,
    Rgb,
    channel_spread,
    luminance,
    strongest_channel,
    three_channels,
)
from controlnet_mcp.images.picture import Use

_SIXTEEN_BITS = 65_535.0
_LIGHT_LEVELS = 160
"""Brightness from which a pixel does not stand out from white."""
_DIM_SHARE = 0.25
"""A 16-bit picture that stays below this fraction of its range holds fewer bits."""
_WHOLE_SHARE = 0.9
"""A depth map that uses this fraction of its range is stretched without a word."""
_NARROW_SHARE = 0.1
"""A depth map that uses no more of its range hardly tells near from far."""
_ONE_COLOUR_LEVELS = 24
"""Levels by which pixels of one colour may differ, and the channels of a grey one."""
_PAINT_LEVELS = 96
"""Levels between the channels of paint on a grey mask."""
_SEE_THROUGH = 192
"""Alpha below which a pixel is meant to be transparent to some degree."""
_MOSTLY = 0.95
_EXTREME_LEVELS = 16
"""Distance from black or white at which a pixel still counts as that."""
_CLOSED_BORDER = 0.75
"""Opaque fraction of the border from which a layer of one colour is a plate with a hole and not paint on an empty one:
an area that is painted from one side has less, nearly as far as the other side."""
_STRAY_SHARE, _STRAY_PIXELS = 2e-5, 4
"""Pixels that may be there by accident."""
_NOISE_LEVELS = 16
"""So few levels may be the noise of JPEG; they are a mask where they hold together."""
_SAMPLED_PIXELS = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A picture as it was taken.

    Attributes:
        notes: Sentences for the user: what was done to it, and how else it could be handed in.
        changed: Whether it shows something else than its file does in other programs.
    """

    rgb: Rgb
    notes: tuple[str, ...] = ()
    changed: bool = False


def take(pixels: Pixels, use: Use = "picture", frame: tuple[int, int] | None = None) -> Taken:
    """Take decoded pixels as what they are used for; a mask is fitted to a frame (width and height) if there is one.

    Raises:
        ImageError: `image_unreadable`: a mask that is blank.
    """
    if use == "mask":
        return _mask(pixels, frame)
    return _depth(pixels) if use == "depth" else _picture(pixels)


def _deep(pixels: Pixels) -> Levels | None:
    """The pixels where they are deep values and not colours."""
    return np.asarray(pixels, dtype=np.float32) if pixels.ndim < 3 else None  # noqa: PLR2004  # height, width, channels


def _eight_bits(pixels: Pixels) -> Rgb:
    """The pixels where they are colours, with or without alpha."""
    return np.asarray(pixels, dtype=np.uint8)


def _on_ground(rgba: Rgb, brightness: int) -> Rgb:
    """A picture with alpha on a ground."""
    drawn = Image.fromarray(rgba)
    flat = Image.new("RGB", drawn.size, (brightness,) * 3)
    flat.paste(drawn, mask=drawn.getchannel("A"))
    return np.asarray(flat, dtype=np.uint8)


def _picture(pixels: Pixels) -> Taken:
    """A plain picture: deep values as brightness, transparency on white, or on black where what is seen is light."""
    deep, notes, changed = _deep(pixels), tuple[str, ...](), False
    if deep is not None:
        pixels, notes = _brightness(deep)
        changed = True  # other programs may see it darker
    picture = _eight_bits(pixels)
    if picture.shape[2] == 3:  # noqa: PLR2004  # red, green, blue
        return Taken(picture, notes, changed)
    alpha = picture[..., 3]
    light = luminance(np.ascontiguousarray(picture[..., :3])) > _LIGHT_LEVELS
    if 2 * int(alpha.sum(dtype=np.int64, where=light)) <= int(alpha.sum(dtype=np.int64)):
        return Taken(_on_ground(picture, 255), notes, changed)
    note = "The picture is light on a transparent ground, so black was put behind it; flatten it first for another one."
    return Taken(_on_ground(picture, 0), (*notes, note), changed=True)


def _range_of(deep: Levels, low: float, high: float) -> float:
    """The largest value that a deep picture could hold: that of fractions, 8 or 16 bits, or the largest that it has."""
    if low < 0 or high > _SIXTEEN_BITS:
        return max(-low, high)
    if np.any(np.mod(deep, 1) > 0):  # fractions, or lengths
        return 1.0 if 0.5 < high <= 1 else high  # noqa: PLR2004  # a bright half
    return next(most for most in (1.0, 255.0, _SIXTEEN_BITS) if high <= most)


def _scaled(values: Levels, low: float, high: float, least: int = 0) -> Plane:
    """Values from `low` to `high` as `least` to 255; what is beyond, or no number, as the nearest or as `least`."""
    with np.errstate(invalid="ignore", over="ignore"):
        levels = values - np.float32(low)
        levels *= np.float32((255 - least) / ((high - low) or 1.0))
        levels += np.float32(least + 0.5)
        np.clip(levels, least, 255, out=levels)
    return np.asarray(np.nan_to_num(levels, copy=False, nan=least), dtype=np.uint8)


def _ends(values: Levels, where: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The lowest and the highest of the values that count."""
    return float(values.min(where=where, initial=np.inf)), float(values.max(where=where, initial=-np.inf))


def _brightness(deep: Levels) -> tuple[Rgb, tuple[str, ...]]:
    """Deep values as a grey picture, with alpha where some are not there (NaN)."""
    there = np.isfinite(deep)
    low, high = _ends(deep, there) if there.any() else (0.0, 0.0)
    most, notes = _range_of(deep, low, high), tuple[str, ...]()
    if most not in {1.0, 255.0, _SIXTEEN_BITS} or high <= _DIM_SHARE * min(most, _SIXTEEN_BITS):
        notes = (f"The picture holds values from {low:g} to {high:g} only, so it was stretched to full contrast.",)
    else:
        low, high = 0.0, most
    grey = three_channels(_scaled(deep, low, high))
    if there.all():
        return grey, notes
    return np.asarray(np.dstack((grey, there.astype(np.uint8) * 255)), dtype=np.uint8), notes


def _depth(pixels: Pixels) -> Taken:
    """A depth map: deep values stretched to their own range; what is 0 or transparent counts as farthest, black."""
    deep = _deep(pixels)
    if deep is None:
        return _shallow_depth(_eight_bits(pixels))
    measured = np.isfinite(deep) & (deep != 0)
    if not measured.any():
        return Taken(np.zeros((*deep.shape, 3), dtype=np.uint8))
    low, high = _ends(deep, measured)
    below = measured & (deep < _SIXTEEN_BITS)
    beyond = high == _SIXTEEN_BITS and bool(below.any()) and _ends(deep, below)[1] <= high / 2
    if beyond:
        measured = below
        low, high = _ends(deep, measured)
    plane = _scaled(deep, low, high, least=1)
    plane[~measured] = 0
    used = (high - low) / _range_of(deep, low, high)
    if used >= _WHOLE_SHARE and not beyond:
        return Taken(three_channels(plane), changed=high != _SIXTEEN_BITS)
    nothing = f"0 and {_SIXTEEN_BITS:.0f} count" if beyond else "0 counts"
    note = (
        f"The depth values from {low:g} to {high:g} were stretched to the whole range; {nothing} as not measured. Near "
        "must be bright: where the values are distances, such as millimetres, hand in the inverted map."
    )
    notes = [note]
    if used <= _NARROW_SHARE:
        notes.append(_narrow(f"{100 * used:.2g} % of its range"))
    return Taken(three_channels(plane), tuple(notes), changed=True)


def _narrow(share: str) -> str:
    return f"The depth map uses {share} only: it hardly tells near from far, so look at what comes out."


def _shallow_depth(picture: Rgb) -> Taken:
    """A depth map of 8 bits as it is, or a photo to make one of."""
    rgb = np.ascontiguousarray(picture[..., :3])
    grey = float(np.percentile(channel_spread(rgb), 99)) <= _ONE_COLOUR_LEVELS
    if not grey:
        return _picture(picture)
    plane = luminance(rgb)
    notes, changed = list[str](), picture.shape[2] > 3  # noqa: PLR2004  # red, green, blue
    if changed:
        rgb = _on_ground(picture, 0)
        plane = plane[picture[..., 3] > HALF]
        notes.append("What is transparent in the depth map counts as farthest.")
    low, high = np.percentile(plane, (0.1, 99.9)) if plane.size else (0, 0)
    if 0 < high - low <= _NARROW_SHARE * 255:
        notes.append(_narrow(f"{high - low + 1:.0f} of 256 levels"))
    return Taken(rgb, tuple(notes), changed)


def _mask(pixels: Pixels, frame: tuple[int, int] | None) -> Taken:
    """A mask: white where its picture is to be repainted, of the frame's size."""
    deep = _deep(pixels)
    picture, deep_notes = (_eight_bits(pixels), ()) if deep is None else _brightness(deep)
    alpha = picture[..., 3:]
    see_through = np.count_nonzero(alpha < _SEE_THROUGH) > _few(alpha.size)
    plane, notes = _by_alpha(picture) if see_through else _by_colour(picture[..., :3])
    notes += deep_notes
    stretched = _stretched(plane)
    if stretched is not plane:
        notes.append("The few grey levels of the mask were stretched from black to white.")
    white = np.count_nonzero(stretched > HALF)
    if white <= _few(stretched.size):
        raise _blank("black", "nothing of init_image would be repainted")
    if stretched.size - white <= _few(stretched.size):
        raise _blank("white", "all of init_image would be repainted")
    changed, (height, width) = bool(notes) or deep is not None, stretched.shape
    if frame and frame != (width, height):
        notes.append(f"The mask ({width}x{height}) was scaled to the size of init_image, {frame[0]}x{frame[1]}.")
        shrinks = frame[0] * frame[1] < width * height
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        stretched = np.asarray(cv2.resize(stretched, frame, interpolation=method), dtype=np.uint8)
        changed = True
    return Taken(three_channels(stretched), tuple(notes), changed)


def _few(pixels: int) -> float:
    """So many pixels of that many may be there by accident."""
    return max(_STRAY_PIXELS, _STRAY_SHARE * pixels)


def _by_alpha(rgba: Rgb) -> tuple[Plane, list[str]]:
    """The area that is painted on an empty layer, or the hole of what is more than paint."""
    alpha = np.ascontiguousarray(rgba[..., 3])
    opaque = rgba[alpha >= max(_EXTREME_LEVELS, int(alpha.max()) // 2)][:, :3]
    if not opaque.size:
        raise _blank("transparent", "it says nothing")
    sample = opaque[:: 1 + len(opaque) // _SAMPLED_PIXELS]
    darkest, brightest = sample.max(axis=1) < _EXTREME_LEVELS, sample.min(axis=1) > 255 - _EXTREME_LEVELS
    if bool((darkest | brightest).mean() > _MOSTLY and min(darkest.mean(), brightest.mean()) > 1 - _MOSTLY):
        note = "The mask is black and white beside being transparent: its white part is repainted."
        return strongest_channel(_on_ground(rgba, 0)), [note]
    middle = np.median(sample, axis=0)
    one_colour = float((np.abs(sample - middle).max(axis=1) <= _ONE_COLOUR_LEVELS).mean()) > _MOSTLY
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    if one_colour and float((border > HALF).mean()) < _CLOSED_BORDER:
        note = "The mask is one colour on an empty layer: what is painted is repainted."
        return alpha, [note]
    note = "The mask is a picture with a transparent hole: the hole is repainted."
    return np.asarray(cv2.bitwise_not(alpha), dtype=np.uint8), [note]


def _by_colour(picture: Rgb) -> tuple[Plane, list[str]]:
    """The painted part of a mask with one plain ground, else its brightness."""
    rgb = np.ascontiguousarray(picture)
    spread = channel_spread(rgb)
    painted, colourless = spread > _PAINT_LEVELS, spread <= _ONE_COLOUR_LEVELS
    shares = float(painted.mean()), float(colourless.mean())
    if np.count_nonzero(painted) > _few(spread.size) and sum(shares) > _MOSTLY and shares[1]:
        low, high = np.percentile(luminance(rgb)[colourless], (2.5, 97.5))
        if high - low <= _ONE_COLOUR_LEVELS:
            ground = np.asarray(cv2.threshold(spread, _ONE_COLOUR_LEVELS, 255, cv2.THRESH_TOZERO)[1], dtype=np.uint8)
            return ground, ["The mask is paint on a plain ground: the painted part is repainted."]
    plane = strongest_channel(rgb)
    between = np.count_nonzero((plane > 2 * _EXTREME_LEVELS) & (plane < 255 - 2 * _EXTREME_LEVELS))
    greys = len(np.flatnonzero(np.bincount(plane.ravel(), minlength=256) > _few(plane.size)))
    if between > plane.size / 2 and greys > 2 * _NOISE_LEVELS:
        return plane, ["The mask looks like a plain picture: what is brighter than half in it is repainted."]
    return plane, []


def _stretched(plane: Plane) -> Plane:
    """The mask from black to white; the same one where it is so already or holds nothing but noise."""
    levels = np.flatnonzero(np.bincount(plane.ravel(), minlength=256) > _few(plane.size))
    low, high = (int(levels[0]), int(levels[-1])) if len(levels) else (0, 255)
    if high == low or (low <= _EXTREME_LEVELS and high >= 255 - _EXTREME_LEVELS):
        return plane
    above = (plane > (low + high) // 2).view(np.uint8)
    whole = cv2.countNonZero(cv2.morphologyEx(above, cv2.MORPH_OPEN, np.ones((3, 3), dtype=np.uint8)))
    if high - low < _NOISE_LEVELS and whole < cv2.countNonZero(above) / 2:
        return plane
    return _scaled(np.asarray(plane, dtype=np.float32), low, high)


def _blank(what: str, outcome: str) -> ImageError:
    return ImageError(
        "image_unreadable",
        f"The mask is {what} throughout, so {outcome}.",
        hint="Hand in one that is white where to repaint and black elsewhere, or leave mask_image out to redraw all.",
    )
