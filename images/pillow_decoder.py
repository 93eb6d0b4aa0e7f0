"""Decoding untrusted bytes by Pillow alone: one named decoder for the format that the first bytes show.

Imported lazily: it brings Pillow and NumPy, and not OpenCV, which never sees an untrusted file. The size
in the header is checked before a pixel is allocated: Pillow's own allow-list and bomb check come too late for a warning
to be an error without changing the whole process. Colour profiles are dropped, not applied.
"""

import io
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from controlnet_mcp.foundation.errors import ControlNetError, ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.picture import SourceType, recognise, too_large, webp_canvas

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

_DECODERS: dict[SourceType, type[ImageFile]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/webp": WebPImageFile,
    "image/gif": GifImageFile,
    "image/bmp": BmpImageFile,
}
_LONGEST_SIDE = 65_535  # what JPEG can hold
_UPRIGHT: dict[int, Image.Transpose] = {  # Exif 2.32, 4.6.4 A, tag Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pixels_of(content: bytes, limits: Limits) -> "Rgb":
    """The pixels of a picture, see `controlnet_mcp.images.decode.decode`."""
    if len(content) > limits.max_bytes:
        raise too_large(limits.max_bytes)
    source_type = recognise(content)
    try:
        if source_type == "image/webp":  # its decoder allocates two whole canvases before it tells their size
            _check_size(webp_canvas(content), limits)
        with _DECODERS[source_type](io.BytesIO(content)) as picture:
            _check_size(picture.size, limits)
            picture.load()
            return _upright_rgb(picture)
    except ControlNetError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(limits) from error
    except Exception as error:  # a decoder raises almost anything on hostile bytes
        raise ImageError(
            "image_unreadable",
            "The picture is truncated or damaged and cannot be decoded.",
            hint="Open it in a picture viewer, save it again as PNG or JPEG, and pass that.",
        ) from error


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if min(size) < 1:
        raise ValueError("a picture without pixels")
    if width * height > limits.max_pixels or max(size) > _LONGEST_SIDE:
        raise _too_many_pixels(limits, f"{width}x{height} pixels")


def _too_many_pixels(limits: Limits, size: str = "too many pixels") -> ImageError:
    return ImageError(
        "image_unreadable",
        f"The picture has {size}; the limit is {limits.max_pixels:,} pixels and {_LONGEST_SIDE:,} on a side.",
        hint="Scale it down (about 1,000 to 2,000 pixels on the longer side is plenty) and pass that.",
    )


def _upright_rgb(file: ImageFile) -> "Rgb":
    """The pixels as the camera was held, eight bits per channel on white, from any mode that the decoders give."""
    orientation = None
    with suppress(Exception):  # damaged EXIF raises anything; it must not cost the picture, and counts as upright
        orientation = file.getexif().get(ExifTags.Base.Orientation)
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    picture = file if method is None else file.transpose(method)
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        grey: Rgb = np.asarray(np.asarray(picture) >> 8, dtype=np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if picture.has_transparency_data:
        drawn = picture.convert("RGBA")
        picture = Image.new("RGB", drawn.size, "white")
        picture.paste(drawn, mask=drawn.getchannel("A"))
    result: Rgb = np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"), dtype=np.uint8)
    return result
