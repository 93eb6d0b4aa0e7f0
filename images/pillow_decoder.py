"""Decoding untrusted bytes by Pillow alone: one named decoder for the format that the first bytes show.

Imported lazily: it brings Pillow and NumPy, and not OpenCV, which never sees an untrusted file. The size
in the header is checked before a pixel is allocated: Pillow's own allow-list and bomb check come too late for a warning
to be an error without changing the whole process. Colour profiles are applied: what comes out is sRGB.
"""

import io
import random
import re
import struct
import threading
from contextlib import suppress
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import numpy.typing as npt
from PIL import AvifImagePlugin, ExifTags, Image, ImageCms
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from controlnet_mcp.foundation.errors import ControlNetError, ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.picture import SourceType, not_read, recognise, too_large, webp_canvas

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Pixels

DECODERS: dict[SourceType, type[ImageFile]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/webp": WebPImageFile,
    "image/gif": GifImageFile,
    "image/bmp": BmpImageFile,
    "image/tiff": TiffImageFile,
    "image/avif": AvifImageFile,
}
"""The one decoder of each format."""
with suppress(ImportError):  # the extra `controlnet-mcp[heic]`
    from pillow_heif import options as heif_options
    from pillow_heif.as_plugin import HeifImageFile

    heif_options.DECODE_THREADS = 0  # in this thread
    DECODERS["image/heic"] = HeifImageFile
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a locked worker may start none

_LONGEST_SIDE = 65_535  # what JPEG can hold
_HALVED = 1.5
"""A picture of up to so many times the most pixels is decoded and halved: phones make 50 megapixels."""
_SCALED = 6
"""A JPEG of up to so many times the most pixels is decoded at a half, a quarter or an eighth of its size."""
_FRAMES = 100
"""Most frames that are looked at for one that shows something."""
_BLANK_LEVELS = 12
"""Levels in every channel by which a frame without anything on it may vary."""
_FADED_LEVELS = 64
"""A frame that varies by no more may be one of a picture that fades in."""
_BRIGHTNESSES = (0.25, 0.5, 0.75)
_SMALLEST_CURVE = 256
"""Fewer entries are a gamma, or too few for sRGB."""
_CURVE_TOLERANCE = 0.006
_PRIMARIES = (b"rXYZ", b"gXYZ", b"bXYZ")
_SRGB_PRIMARIES = (0.4361, 0.2225, 0.0139, 0.3851, 0.7169, 0.0971, 0.1431, 0.0606, 0.7141)
"""Red, green and blue of sRGB in XYZ under D50 (ICC: sRGB.icc)."""
_PRIMARY_TOLERANCE = 0.003
_ICC_HEADER = 128
_LONGEST_MATRIX_PROFILE, _LONGEST_PROFILE = 1 << 16, 1 << 22
"""Bytes of a profile of primaries and curves, and of one with tables: those of printers have up to three million."""
_LONGEST_EXIF = 1 << 20
_PNG_DEPTH, _PNG_COLOUR = 24, 25
"""Places of the bits per channel and the colour type in a PNG."""
_SIXTEEN, _GREY_WITH_ALPHA = 16, 4
_DIM_HIGH_BYTE = 63
"""A picture whose high bytes are no higher holds fewer than 16 bits."""
_TIFF_COMPRESSIONS = frozenset(
    ("raw", "tiff_ccitt", "group3", "group4", "tiff_lzw", "jpeg", "tiff_adobe_deflate", "tiff_deflate", "packbits")
)
_NEW_SUBFILE_TYPE, _TILE_WIDTH, _TILE_LENGTH, _DNG_VERSION = 254, 322, 323, 50706
_FOLDERS = frozenset({34665, 34853, 40965})
"""Tags of TIFF that lead to further ones: EXIF, GPS, interoperability."""
_NUMBERS = frozenset({3, 4, 5, 8, 9, 10, 11, 12, 13})
"""Types of TIFF whose values become Python numbers."""
_MOST_NUMBERS = 500_000
_JPEG_END, _SCAN, _LAST_COEFFICIENT = b"\xff\xd9", 0xDA, 63
_UNENDED_SHARE = 0.005
"""Fraction of the pixels that the missing end of a JPEG may matter to."""
_UPRIGHT: dict[int, Image.Transpose] = {  # Exif 2.32, 4.6.4 A, tag Orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pixels_of(content: bytes, limits: Limits) -> "Pixels":
    """The pixels of a picture with all that its file says of them, see `controlnet_mcp.images.maps.arrays.Pixels`.

    Upright, in sRGB, of the first frame that shows something.

    Raises:
        ImageError: As `controlnet_mcp.images.decode.decode`.
    """
    if len(content) > limits.max_bytes:
        raise too_large(limits.max_bytes)
    source_type = recognise(content)
    try:
        try:
            return _decoded(content, source_type, limits)
        except (OSError, ValueError, SyntaxError) as error:
            if source_type == "image/jpeg":
                return _unended_jpeg(content, limits)
            if source_type == "image/png" and b"iCCP" in content:  # a profile that Pillow refuses to inflate
                return _decoded(_without_profile(content), source_type, limits)
            if source_type == "image/heic" and not _may_start_threads():
                raise ImageError(
                    "image_unreadable",
                    "HEIC pictures cannot be read over this connection: their decoder needs more than one thread.",
                    hint="Pass it as JPEG or PNG.",
                ) from error
            raise
    except ControlNetError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(limits) from error
    except Exception as error:  # a decoder raises almost anything on hostile bytes
        rare = " or of a rare kind" if source_type == "image/tiff" else ""
        raise ImageError(
            "image_unreadable",
            f"The picture is truncated or damaged{rare} and cannot be decoded.",
            hint="Open it in a picture viewer, save it again as PNG or JPEG, and pass that.",
        ) from error


def _may_start_threads() -> bool:
    """Tell whether this process may start a thread: a locked one may not, unless its user is root."""
    try:
        threading.Thread(target=int).start()
    except RuntimeError:
        return False
    return True


def _decoded(content: bytes, source_type: SourceType, limits: Limits) -> "Pixels":
    """The pixels of a file of a format; raises whatever its decoder raises."""
    if source_type == "image/webp":  # its decoder allocates two whole canvases before it tells their size
        _check_size(webp_canvas(content), limits)
    if source_type not in DECODERS:
        raise ImageError(
            "image_unreadable",
            "This is a HEIC picture, as iPhones take, and the package that reads it is not installed.",
            hint='Pass it as JPEG or PNG, or have the operator run: pip install "controlnet-mcp[heic]", and restart.',
        )
    if source_type == "image/tiff":
        _check_tags(content)
    with DECODERS[source_type](io.BytesIO(content)) as picture:
        _check_size(picture.size, limits, jpeg=source_type == "image/jpeg")
        _prepare(picture, limits)
        picture.load()
        _seek_something(picture, limits)
        deep = _deep(content, picture)
        large = picture.width * picture.height > limits.max_pixels
        if deep is not None and deep.mode == "F":
            return np.asarray(_upright(deep.reduce(2) if large else deep, picture), dtype=np.float32)
        shown = deep or picture
        shown = shown.convert("RGBA") if large and shown.mode in {"1", "P", "PA"} else shown
        shown = shown.reduce(2) if large else shown
        if shown.has_transparency_data:
            shown = shown.convert("RGBA")
            if shown.getchannel("A").getextrema() == (255, 255):
                shown = shown.convert("RGB")
        elif shown.mode not in {"RGB", "L", "CMYK", "LAB"}:
            shown = shown.convert("RGB")
        shown = _upright(_in_srgb(shown, picture.info.get("icc_profile")), picture)
        return np.asarray(shown if shown.mode in {"RGB", "RGBA"} else shown.convert("RGB"), dtype=np.uint8)


def _check_size(size: tuple[int, int], limits: Limits, *, jpeg: bool = False) -> None:
    width, height = size
    if min(size) < 1:
        raise ValueError("a picture without pixels")
    if width * height > (_SCALED if jpeg else _HALVED) * limits.max_pixels or max(size) > _LONGEST_SIDE:
        raise _too_many_pixels(limits, f"{width}x{height} pixels")


def _too_many_pixels(limits: Limits, size: str = "too many pixels") -> ImageError:
    return ImageError(
        "image_unreadable",
        f"The picture has {size}; the limit is {limits.max_pixels:,} pixels and {_LONGEST_SIDE:,} on a side.",
        hint="Scale it down (about 1,000 to 2,000 pixels on the longer side is plenty) and pass that.",
    )


def _prepare(picture: ImageFile, limits: Limits) -> None:
    """Ask a JPEG that is too large for fewer pixels; refuse what a TIFF may hide."""
    if isinstance(picture, JpegImageFile):
        scale = 1
        while -(-picture.width // scale) * -(-picture.height // scale) > limits.max_pixels:
            scale *= 2
        if scale > 1:
            picture.draft(None, (picture.width // scale, picture.height // scale))
    elif isinstance(picture, TiffImageFile):
        tags = picture.tag_v2
        if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE, 0) & 1:
            raise not_read("a raw photo of a camera")
        if picture.info["compression"] not in _TIFF_COMPRESSIONS:
            raise not_read("a TIFF picture with a rare compression")
        if tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) > limits.max_pixels:
            raise ValueError("a tile that is larger than any picture")


def _check_tags(content: bytes) -> None:
    """Refuse a TIFF whose tags hold so many numbers that reading them would take the memory (TIFF 6.0, section 2)."""
    order = "<" if content.startswith(b"II") else ">"
    folders, numbers = list(struct.unpack_from(f"{order}I", content, 4)), 0
    for folder in folders:  # those of EXIF follow
        (entries,) = struct.unpack_from(f"{order}H", content, folder)
        for tag, kind, count, value in struct.iter_unpack(
            f"{order}HHII", content[folder + 2 : folder + 2 + 12 * entries]
        ):
            numbers += count if kind in _NUMBERS else 0
            if tag in _FOLDERS and len(folders) < len(_FOLDERS):
                folders.append(value)
    if numbers > _MOST_NUMBERS:
        raise ValueError("a TIFF of more numbers than pixels")


def _seek_something(picture: ImageFile, limits: Limits) -> None:
    """Go on from a blank first frame to the first that shows something, or else to the one that shows most."""
    if not isinstance(picture, GifImageFile | PngImageFile | WebPImageFile | AvifImageFile) or not picture.is_animated:
        return
    most = min(_FRAMES, 1 + 4 * limits.max_pixels // (picture.width * picture.height))
    shown, best = _BLANK_LEVELS, 0
    if _contrast(picture) > shown:
        return
    with suppress(Exception):  # as many frames as there are, or as are whole
        for frame in range(1, most):
            picture.seek(frame)
            _check_size(picture.size, limits)
            picture.load()
            if (contrast := _contrast(picture)) > shown:
                shown, best = contrast, frame
            if shown > _FADED_LEVELS:
                return
    picture.seek(best)
    picture.load()


def _contrast(frame: Image.Image) -> int:
    """The most levels between two pixels in any channel, as far as they are opaque."""
    spans = (cast("tuple[int, int]", span) for span in frame.convert("RGBA").convert("RGBa").getextrema())
    return max(high - low for low, high in spans)


def _deep(content: bytes, picture: ImageFile) -> Image.Image | None:
    """A picture of more than eight bits a channel; `None` where eight are enough for what it holds.

    As floats where it is grey, NaN where nothing is; colours of a PNG that are too low for eight bits are brightened.
    """
    if picture.mode.startswith(("I", "F")):
        values = np.array(picture, dtype=np.float32)
        if isinstance(nothing := picture.info.get("transparency"), int):
            values[values == nothing] = np.nan
        values[~np.isfinite(values)] = np.nan
        return Image.fromarray(values)
    if not isinstance(picture, PngImageFile) or content[_PNG_DEPTH] != _SIXTEEN:
        return None
    if content[_PNG_COLOUR] == _GREY_WITH_ALPHA:
        grey, low, alpha = (_channels_of(content, "RGBA")[..., index] for index in (0, 1, 2))
        values = np.where(alpha > 0, grey * np.float32(256) + low, np.float32(np.nan))
        all_or_nothing = ((alpha == 0) | (alpha == 255)).all()  # noqa: PLR2004  # the ends of its range
        return Image.fromarray(values) if all_or_nothing else None
    high = np.asarray(picture, dtype=np.uint8)  # Pillow keeps the high bytes alone
    if high[..., :3].max() > _DIM_HIGH_BYTE:
        return None
    values = high * np.float32(256) + _channels_of(content, f"{picture.mode};16L")
    colours, there = values[..., :3], high[..., 3:].min(axis=2, initial=255) > _DIM_HIGH_BYTE
    if isinstance(nothing := picture.info.pop("transparency", None), tuple):
        there &= (colours != np.array(nothing, dtype=np.float32)).any(axis=2)
    if (colours[..., :1] == colours).all():
        return Image.fromarray(np.where(there, colours[..., 0], np.float32(np.nan)))
    brighter = colours * (255 / max(float(colours.max()), 255.0))
    return Image.fromarray(np.dstack((brighter, there * np.float32(255))).astype(np.uint8))


def _channels_of(content: bytes, form: str) -> npt.NDArray[np.uint8]:
    """The bytes of a PNG of 16 bits in another form of Pillow's decoder than its own."""
    with PngImageFile(io.BytesIO(content)) as picture:
        picture.tile = [picture.tile[0]._replace(args=form)]
        picture.load()
        return np.array(picture, dtype=np.uint8)


def _upright(picture: Image.Image, file: ImageFile) -> Image.Image:
    """The picture as the camera was held; damaged EXIF must not cost the picture, and counts as upright."""
    orientation = None
    with suppress(Exception):  # it raises anything
        if len(file.info.get("exif", b"")) <= _LONGEST_EXIF:
            orientation = file.getexif().get(ExifTags.Base.Orientation)
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if method is None else picture.transpose(method)


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    """The picture in sRGB, where it has a profile of other colours; a broken one, or of another mode, is ignored."""
    given = profile if isinstance(profile, bytes) and _ICC_HEADER < len(profile) <= _LONGEST_PROFILE else b""
    if picture.mode == "LAB":
        source = _standard("LAB")
    elif not given or (len(given) <= _LONGEST_MATRIX_PROFILE and _is_srgb(given)):
        return picture
    else:
        source = None
    with suppress(Exception):  # a profile is as untrusted as the picture
        made = ImageCms.profileToProfile(
            picture.convert("RGB") if picture.mode == "L" and given[16:20] == b"RGB " else picture,
            source or ImageCms.ImageCmsProfile(io.BytesIO(given)),
            _standard("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGBA" if picture.mode == "RGBA" else "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return made or picture
    return picture


@cache
def _standard(space: Literal["sRGB", "LAB"]) -> ImageCms.ImageCmsProfile:
    """The profile of a standard colour space."""
    made = ImageCms.createProfile(space)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return ImageCms.ImageCmsProfile(made)  # pyright: ignore[reportUnknownArgumentType]


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Tell whether a profile is of sRGB's primaries and curve (ICC.1: 7.3, 10.6, 10.18, 10.31), without a transform."""
    with suppress(struct.error, KeyError):
        (count,) = struct.unpack_from(">I", profile, _ICC_HEADER)
        rows = struct.iter_unpack(">4sII", profile[_ICC_HEADER + 4 :][: 12 * min(count, 64)])
        tags = {name: profile[start : start + size] for name, start, size in rows}
        if profile[16:20] != b"RGB " or b"A2B0" in tags:
            return False
        primaries = [part / 65536 for name in _PRIMARIES for part in struct.unpack_from(">3i", tags[name], 8)]
        curves = {_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")}
        near = (abs(ours - its) < _PRIMARY_TOLERANCE for ours, its in zip(_SRGB_PRIMARIES, primaries, strict=True))
        usual = [((part + 0.055) / 1.055) ** 2.4 for part in _BRIGHTNESSES]
        alike = (abs(ours - its) < _CURVE_TOLERANCE for row in curves for ours, its in zip(usual, row, strict=True))
        return all(near) and len(curves) == 1 and all(alike)
    return False


def _curve(tag: bytes) -> tuple[float, ...]:
    """The light of three brightnesses, a quarter, a half and three quarters, by a curve of a profile.

    Raises:
        KeyError: It is of another kind than a table and a parametric curve of type 3.
        struct.error: It is cut off.
    """
    if tag.startswith(b"curv"):
        (count,) = struct.unpack_from(">I", tag, 8)
        if count < _SMALLEST_CURVE:
            raise KeyError(count)
        places = (round(part * (count - 1)) for part in _BRIGHTNESSES)
        return tuple(struct.unpack_from(">H", tag, 12 + 2 * place)[0] / 65535 for place in places)
    if not tag.startswith(b"para") or tag[8:10] != b"\0\3":
        raise KeyError(tag[:10])
    gamma, slope, offset, *_ = (part / 65536 for part in struct.unpack_from(">5i", tag, 12))
    return tuple(max(slope * part + offset, 0.0) ** gamma for part in _BRIGHTNESSES)


def _without_profile(content: bytes) -> bytes:
    """A PNG without its colour profile: what is wrong with that is not wrong with the picture."""
    kept, place = content[:8], 8
    while place + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, place)
        if name == b"IDAT":
            break
        kept += b"" if name == b"iCCP" else content[place : place + 12 + length]
        place += 12 + length
    return kept + content[place:]


def _unended_jpeg(content: bytes, limits: Limits) -> "Pixels":
    """A JPEG that lacks its last bytes, where that matters to next to none of its pixels.

    Raises:
        ValueError: It has its end, or more is missing: other endings make another picture.
    """
    with JpegImageFile(io.BytesIO(content)) as picture:
        _check_size(picture.size, limits, jpeg=True)
        pixels = picture.width * picture.height
        if content.endswith(_JPEG_END) or not _has_every_scan(content, picture):
            raise ValueError("a JPEG that is broken elsewhere")
    content = content.rstrip(b"\xff")
    found = re.search(rb"\xff\xdd\x00\x04(..)", content[: _first_scan(content)], re.DOTALL)
    interval = int.from_bytes(found[1], "big") if found else 0  # of 64 pixels or more, after which a mark is expected
    marks = [bytes((0xFF, 0xD0 + number)) if interval else b"" for number in range(8)]
    length = 16 * max(interval, 4)  # enough of each interval, or of the whole, to show
    count = 1 + pixels // (64 * (interval or 32))

    def ended(seed: int) -> "Pixels":
        dice = random.Random(seed)  # noqa: S311  # no secret
        parts = (dice.randbytes(length).replace(b"\xff", b"\0") + marks[number % 8] for number in range(count))
        return _decoded(content + b"".join(parts) + _JPEG_END, "image/jpeg", limits)

    if float((ended(1) != ended(2)).any(axis=2).mean()) > _UNENDED_SHARE:
        raise ValueError("a JPEG of which more than the end is missing")
    return _decoded(content + _JPEG_END, "image/jpeg", limits)


def _first_scan(content: bytes) -> int:
    """The place in a JPEG where its first scan begins; thumbnails before it hold scans of their own.

    Raises:
        IndexError: There is none.
    """
    place = 2
    while content[place + 1] != _SCAN:
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return place


def _has_every_scan(content: bytes, picture: JpegImageFile) -> bool:
    """Tell whether a progressive JPEG has a last scan of every component (ITU T.81, B.2.3 and G.1.1); others have."""
    if "progressive" not in picture.info:
        return True
    place, finished = _first_scan(content), set[int]()
    for found in re.finditer(rb"\xff\xda..(?P<count>[\1-\4])", content[place:], re.DOTALL):
        end = found.end() + 2 * found["count"][0]
        last, approximation = content[place + end + 1 : place + end + 3]
        if last == _LAST_COEFFICIENT and approximation & 15 == 0:
            finished.update(content[place + found.end() : place + end : 2])
    return {row[0] for row in picture.layer} <= finished
