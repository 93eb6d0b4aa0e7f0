"""Colours as plain tuples and the few operations a palette needs, in OKLCh so that mixing stays clean (no numpy)."""

import math
from typing import TypeAlias

Colour: TypeAlias = tuple[float, float, float]
"""Red, green and blue, sRGB encoded, each 0 to 1."""

WHITE: Colour = (1.0, 1.0, 1.0)
BLACK: Colour = (0.0, 0.0, 0.0)

_ENCODED_FOOT = 0.04045
_LINEAR_FOOT = 0.0031308


def from_hex(code: str) -> Colour:
    """Read `#rrggbb`."""
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    return (red / 255, green / 255, blue / 255)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours; `share` 0 is the first, 1 the second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)


def luminance(colour: Colour) -> float:
    """How light a colour looks, 0 to 1 (Rec. 601 weights, as grey conversion uses)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _linear(channel: float) -> float:
    """Undo the sRGB encoding (IEC 61966-2-1)."""
    return channel / 12.92 if channel <= _ENCODED_FOOT else ((channel + 0.055) / 1.055) ** 2.4


def _encoded(channel: float) -> float:
    channel = min(max(channel, 0.0), 1.0)
    return 12.92 * channel if channel <= _LINEAR_FOOT else 1.055 * channel ** (1 / 2.4) - 0.055


def to_oklch(colour: Colour) -> tuple[float, float, float]:
    """Lightness 0 to 1, chroma 0 to about 0.33, hue in degrees (https://bottosson.github.io/posts/oklab/)."""
    red, green, blue = (_linear(channel) for channel in colour)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    lightness = 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short
    a = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    b = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return (lightness, math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360)


def from_oklch(lightness: float, chroma: float, hue: float) -> Colour:
    """The nearest displayable colour to lightness, chroma and hue in degrees (see `to_oklch`)."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (_encoded(channel) for channel in linear)
    return (red, green, blue)


def shifted(colour: Colour, lightness: float = 0.0, chroma: float = 1.0, hue: float = 0.0) -> Colour:
    """Move a colour: add to lightness, multiply chroma, turn hue by degrees."""
    old_lightness, old_chroma, old_hue = to_oklch(colour)
    return from_oklch(min(max(old_lightness + lightness, 0.0), 1.0), old_chroma * chroma, old_hue + hue)


def hue_apart(first: Colour, second: Colour) -> float:
    """Degrees between two hues, 0 to 180; a greyish colour has no hue and is 180 from any."""
    _, chroma_one, hue_one = to_oklch(first)
    _, chroma_two, hue_two = to_oklch(second)
    if min(chroma_one, chroma_two) < 0.03:  # noqa: PLR2004  # below this chroma a hue is noise
        return 180.0
    return abs((hue_one - hue_two + 180) % 360 - 180)
