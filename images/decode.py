"""From untrusted bytes to pixels, and to the clean copy that is stored and sent to third parties.

Imported lazily: it brings Pillow, NumPy and OpenCV. Only Pillow decodes, one named decoder for the format that the
first bytes show, after the size in the header was checked: Pillow's own allow-list and bomb check come too late for a
warning to be an error without changing the whole process. Colour profiles are dropped, not applied.
"""

import hashlib
import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from controlnet_mcp.images.errors import ControlNetError, ImageError
from controlnet_mcp.images.formats import SourceType, recognise
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.pictures import Limits, StoredPicture, StoredType, too_large
from controlnet_mcp.images.png import encode_png, is_bare

_DECODERS: Mapping[SourceType, type[ImageFile]] = MappingProxyType(
    {
        "image/png": PngImageFile,
        "image/jpeg": JpegImageFile,
        "image/webp": WebPImageFile,
        "image/gif": GifImageFile,
        "image/bmp": BmpImageFile,
    }
)
_LONGEST_SIDE = 65_535  # what JPEG can hold
_UPRIGHT: Mapping[int, Image.Transpose] = MappingProxyType(  # Exif 2.32, 4.6.4 A, tag Orientation
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


def decode(content: bytes, limits: Limits) -> Rgb:
    """The pixels of a picture: upright, first frame, alpha flattened on white, 8 bits per channel.

    Args:
        content: A PNG, JPEG, WebP, GIF or BMP file.
        limits: Bytes and pixels that are accepted; both are checked before any pixel is allocated.

    Returns:
        Shape (height, width, 3), RGB, 0 to 255, read-only. Grey pictures have three equal channels.

    Raises:
        ImageError: `image_unreadable`: not of an accepted format, too large, truncated or broken.
    """
    if len(content) > limits.max_bytes:
        raise too_large(limits.max_bytes)
    decoder = _DECODERS[recognise(content)]
    try:
        with decoder(io.BytesIO(content)) as picture:
            _check_size(picture.size, limits)
            picture.load()
            return _to_rgb(_upright(picture))
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


def clean(content: bytes, limits: Limits) -> tuple[bytes, StoredPicture]:
    """The picture as PNG with nothing but its pixels: no EXIF, position, profile, text, thumbnail or trailing bytes.

    A PNG that is 8-bit RGB and holds nothing else already keeps its bytes, so cleaning twice changes nothing.

    Raises:
        ImageError: As `decode`.
    """
    rgb = decode(content, limits)
    kept = content if is_bare(content) else encode_png(rgb)
    return kept, _stored(kept, "image/png", rgb)


def original(content: bytes, limits: Limits) -> tuple[bytes, StoredPicture]:
    """A picture as its maker delivered it, once all of it was decoded; GIF and BMP become PNG.

    Raises:
        ImageError: As `decode`.
    """
    match recognise(content):
        case "image/gif" | "image/bmp":
            return clean(content, limits)
        case stored_type:
            return content, _stored(content, stored_type, decode(content, limits))


def _stored(content: bytes, mime_type: StoredType, rgb: Rgb) -> StoredPicture:
    height, width = rgb.shape[:2]
    sha256 = hashlib.sha256(content).hexdigest()
    return StoredPicture(sha256=sha256, mime_type=mime_type, width=width, height=height, size_bytes=len(content))


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels or max(size) > _LONGEST_SIDE:
        raise _too_many_pixels(limits, f"{width}x{height} pixels")


def _too_many_pixels(limits: Limits, size: str = "too many pixels") -> ImageError:
    return ImageError(
        "image_unreadable",
        f"The picture has {size}; the limit is {limits.max_pixels:,} pixels and {_LONGEST_SIDE:,} on a side.",
        hint="Scale it down (about 1,000 to 2,000 pixels on the longer side is plenty) and pass that.",
    )


def _upright(picture: ImageFile) -> Image.Image:
    """The picture turned as the camera was held; an unreadable orientation counts as upright."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001  # damaged EXIF raises anything, and must not cost the picture
        return picture
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)


def _to_rgb(picture: Image.Image) -> Rgb:
    """Eight bits per channel on white, from any mode that the decoders give."""
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        grey: Rgb = np.asarray(np.asarray(picture) >> 8, dtype=np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if picture.has_transparency_data:
        drawn = picture.convert("RGBA")
        picture = Image.new("RGB", drawn.size, "white")
        picture.paste(drawn, mask=drawn.getchannel("A"))
    result: Rgb = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    return result
