"""The clean copy: nothing but pixels leaves this machine, and the same picture is always the same bytes."""

import hashlib
import io

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.decode import clean, decode, original
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.images.maps.arrays import Rgb

LIMITS = Limits()
SECRET = b"52.5200 north"


def noise(height: int = 48, width: int = 64) -> Rgb:
    """Pixels that no codec can shorten."""
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photo(kind: str, tail: bytes = SECRET) -> bytes:
    """A picture with a position, a comment, a colour profile, XMP and bytes after its end."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = SECRET.decode()
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", SECRET.decode())
    file = io.BytesIO()
    options: dict[str, object] = {"pnginfo": text} if kind == "PNG" else {"comment": SECRET, "xmp": SECRET}
    Image.fromarray(noise()).save(file, kind, exif=exif, icc_profile=SECRET, **options)
    return file.getvalue() + tail


@pytest.mark.parametrize("tail", [b"", SECRET])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_nothing_but_pixels_is_left(kind: str, tail: bytes) -> None:
    """Position, comment, profile and trailing bytes are in the original and not in the clean copy."""
    content = photo(kind, tail)
    assert SECRET in content
    cleaned, read = clean(content, LIMITS)
    assert SECRET not in cleaned
    with Image.open(io.BytesIO(cleaned)) as reopened:
        assert (reopened.format, reopened.mode, reopened.size) == ("PNG", "RGB", (48, 64))
        assert not reopened.info
        assert not reopened.getexif()
    assert (read.picture.width, read.picture.height) == (48, 64)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_cleaning_keeps_the_pixels(kind: str) -> None:
    """The clean copy is lossless: it decodes to what the original decodes to."""
    content = photo(kind)
    assert np.array_equal(decode(clean(content, LIMITS)[0], LIMITS), decode(content, LIMITS))


def test_the_description_fits_the_bytes() -> None:
    """Hash, length and type are those of the clean copy."""
    cleaned, read = clean(photo("JPEG"), LIMITS)
    picture = read.picture
    assert picture.sha256 == hashlib.sha256(cleaned).hexdigest()
    assert (picture.size_bytes, picture.mime_type) == (len(cleaned), "image/png")
    assert type(picture).model_validate_json(picture.model_dump_json()) == picture


def test_the_same_bytes_give_the_same_picture() -> None:
    """Cleaning is deterministic, and cleaning a clean picture changes nothing."""
    cleaned, read = clean(photo("JPEG"), LIMITS)
    assert clean(photo("JPEG"), LIMITS) == (cleaned, read)
    assert clean(cleaned, LIMITS) == (cleaned, read)


def test_a_bare_png_of_another_program_keeps_its_bytes() -> None:
    """8-bit RGB with nothing but pixels needs no new encoding."""
    file = io.BytesIO()
    Image.fromarray(noise()).save(file, "PNG")
    assert clean(file.getvalue(), LIMITS)[0] == file.getvalue()


@pytest.mark.parametrize("extra", [b"", b"<script>", b"\0" * 12])
def test_a_bare_png_with_a_tail_is_written_anew(extra: bytes) -> None:
    """Bytes after the end chunk are never kept."""
    content = encode_png(noise())
    assert (clean(content + extra, LIMITS)[0] == content) is True
    assert (clean(content + extra, LIMITS)[0] == content + extra) is (extra == b"")


def test_a_bare_looking_png_that_is_broken_is_refused() -> None:
    """The chunks are looked at only after every pixel was decoded."""
    content = bytearray(encode_png(noise()))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ImageError, match="damaged"):
        clean(bytes(content), LIMITS)


@pytest.mark.parametrize(("kind", "mime_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_an_original_keeps_its_bytes(kind: str, mime_type: str) -> None:
    """What a provider made is described as it is, in the size that a viewer shows."""
    content = photo(kind)
    kept, picture = original(content, LIMITS)
    assert kept == content
    assert (picture.mime_type, picture.width, picture.height) == (mime_type, 48, 64)
    assert picture.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("kind", ["GIF", "BMP"])
def test_an_original_that_the_store_cannot_hold_becomes_png(kind: str) -> None:
    """Two formats are read but not kept."""
    file = io.BytesIO()
    Image.fromarray(noise()).save(file, kind)
    kept, picture = original(file.getvalue(), LIMITS)
    assert picture.mime_type == "image/png"
    assert np.array_equal(decode(kept, LIMITS), decode(file.getvalue(), LIMITS))


def test_a_truncated_original_is_refused() -> None:
    """A download that broke off never counts as a result."""
    content = encode_png(noise())
    with pytest.raises(ImageError):
        original(content[: len(content) // 2], LIMITS)
