"""Picture files of every accepted kind, and ways to break them that a decoder may not expect."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from functools import cache

from PIL import ExifTags, Image, PngImagePlugin

from tests.support.picture_files import DISPLAY_P3, profile

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER_BYTES = 80
_PNG = b"\x89PNG\r\n\x1a\n"


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@cache
def seeds() -> tuple[bytes, ...]:
    """Small files: all formats but HEIC, their modes, profiles, animations, interlacing, metadata, run lengths."""
    base = Image.linear_gradient("L").resize((48, 32))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", "x" * 200, zip=True)
    rgb, more = base.convert("RGB"), {"save_all": True, "append_images": [base.convert("RGB").rotate(90)] * 3}
    files = [_saved(base.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
    files += [_saved(base.convert(mode), "BMP") for mode in ("1", "L", "P", "RGB", "RGBA")]
    files += [_saved(rgb, "PNG", exif=exif, pnginfo=text, icc_profile=b"x" * 128), _saved(rgb, "PNG", **more)]
    files += [_saved(base.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")]
    files += [_saved(rgb, "JPEG", exif=exif, progressive=True), _saved(rgb, "JPEG", subsampling=0, comment=b"x" * 90)]
    files += [
        _saved(base.convert("RGBA"), "WEBP", exif=exif),
        _saved(rgb, "WEBP", lossless=True),
        _saved(rgb, "WEBP", **more),
    ]
    files += [
        _saved(base.convert("P"), "GIF", transparency=3),
        _saved(rgb, "GIF", **more),
        _saved(base, "GIF", interlace=1),
    ]
    files += [_saved(base.convert(mode), "TIFF") for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16", "F")]
    files += [_saved(rgb, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")]
    files += [_saved(base.convert(mode), "AVIF", speed=10) for mode in ("L", "RGB", "RGBA")]
    files += [_saved(rgb, kind, icc_profile=profile(DISPLAY_P3)) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]
    return (*files, _run_lengths())


def _run_lengths() -> bytes:
    """A BMP of 8 bits a pixel with BI_RLE8: Pillow reads such files and writes none."""
    pixels = b"".join(b"\x30" + bytes([row]) + b"\0\0" for row in range(32)) + b"\0\1"
    palette = b"".join(bytes([level, level, level, 0]) for level in range(256))
    header = struct.pack("<IiiHHIIiiII", 40, 48, 32, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + palette + pixels


def mangled(count: int, seed: int) -> Iterator[bytes]:
    """So many broken files, the same for the same seed."""
    dice = random.Random(seed)  # noqa: S311  # every run sees the same files
    files = seeds()
    for number in range(count):
        content = bytearray(files[number % len(files)])
        for _ in range(dice.choice((1, 1, 2, 4, 12))):
            _break(content, dice, files)
        yield _checked(bytes(content)) if content.startswith(_PNG) and dice.random() < 0.7 else bytes(content)


def _break(content: bytearray, dice: random.Random, files: tuple[bytes, ...]) -> None:
    """One change: a bit, a field, a cut, a hole, a repetition, or a piece of another file."""
    size = max(len(content), 1)
    early = dice.randrange(min(size, _HEADER_BYTES))
    where = early if dice.random() < 0.5 else dice.randrange(size)
    match dice.randrange(7):
        case 0 | 1:
            content[where : where + 1] = bytes([dice.randrange(256)])
        case 2 | 3:
            width = dice.choice((1, 2, 3, 4))
            value = dice.choice(_EXTREMES) & ((1 << 8 * width) - 1)
            content[where : where + width] = value.to_bytes(width, dice.choice(("little", "big")))
        case 4:
            del content[where:]
        case 5:
            content[where:where] = content[where : where + dice.randrange(1, 64)] * dice.randrange(1, 9)
        case _:
            other = dice.choice(files)
            content[where : where + dice.randrange(64)] = other[dice.randrange(len(other)) :][:64]


def _checked(content: bytes) -> bytes:
    """The PNG with the checksum of every chunk made right, so that more than the checksum is tried."""
    made, offset = bytearray(content[:8]), 8
    while offset + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        body = content[offset + 4 : offset + 8 + length]
        made += content[offset : offset + 4] + body + struct.pack(">I", zlib.crc32(body))
        offset += 12 + length
    return bytes(made)
