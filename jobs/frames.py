"""The size of a generation: what was asked for, or the control picture's aspect, inside the provider's limits."""

from dataclasses import dataclass

from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.images.sizes import fit_size
from controlnet_mcp.jobs.wish import Wish
from controlnet_mcp.providers.capabilities import SizeLimits
from controlnet_mcp.providers.values import Notice

_CROPPED_ASPECT = 1.02
"""Aspects that differ by more than this factor are worth a warning."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Width and height of the generation in pixels."""

    width: int
    height: int


def frame_of(wish: Wish, main: StoredPicture | None, limits: SizeLimits) -> tuple[Frame, list[Notice]]:
    """Settle the size.

    Args:
        wish: May name a width, a height, both or none.
        main: The control picture, whose aspect fills in what is not named.
        limits: The provider's.
    """
    aspect = main.width / main.height if main else 1.0
    asked = _asked(wish, aspect, limits)
    width, height = fit_size(*asked, minimum=limits.minimum, maximum=limits.maximum, multiple=limits.multiple)
    notices: list[Notice] = []
    named = (wish.width or width, wish.height or height)
    if named != (width, height):
        detail = f"{named[0]}x{named[1]} is outside the provider's limits; {width}x{height} is drawn."
        notices.append(Notice(kind="adjusted", feature="width and height", detail=detail))
    return Frame(width, height), [*notices, *fit_notices("control_image", main, Frame(width, height), limits)]


def fit_notices(feature: str, picture: StoredPicture | None, frame: Frame, limits: SizeLimits) -> list[Notice]:
    """What has to be said of a picture that does not fit the frame: that it is cropped, or enlarged."""
    if picture is None:
        return []
    details: list[str] = []
    size = f"({picture.width}x{picture.height})"
    if not 1 / _CROPPED_ASPECT <= (frame.width / frame.height) / (picture.width / picture.height) <= _CROPPED_ASPECT:
        details.append(
            f"The control picture {size} is cropped to the aspect of {frame.width}x{frame.height}. Crop it first, or "
            "give a width and height of its aspect, to choose what stays."
        )
    if min(picture.width, picture.height) < limits.minimum:
        details.append(
            f"The control picture {size} is smaller than the least that the provider draws ({limits.minimum} px a "
            "side): it is enlarged, which adds no structure. Use a larger one if there is one."
        )
    return [Notice(kind="adjusted", feature=feature, detail=detail) for detail in details]


def _asked(wish: Wish, aspect: float, limits: SizeLimits) -> tuple[int, int]:
    if wish.width and wish.height:
        return wish.width, wish.height
    if wish.width:
        return wish.width, max(1, round(wish.width / aspect))
    if wish.height:
        return max(1, round(wish.height * aspect)), wish.height
    side = limits.preferred
    return max(1, round(side * aspect**0.5)), max(1, round(side / aspect**0.5))
