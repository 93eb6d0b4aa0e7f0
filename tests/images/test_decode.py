"""Untrusted bytes become upright 8-bit RGB pixels, or an error in a sentence; never much memory."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.maps.arrays import Rgb

LIMITS = Limits()
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """A Pillow picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """A picture of 40x20 pixels: red on the left, green on the right."""
    picture = Image.new("RGB", (40, 20), RED)
    picture.paste(GREEN, (20, 0, 40, 20))
    return picture.convert(mode)


def near(rgb: Rgb, row: int, column: int, color: tuple[int, int, int], tolerance: int = 12) -> bool:
    """Whether a pixel has a colour, give or take what lossy formats do."""
    pixel = rgb[row, column].astype(int)
    return int(np.abs(pixel - np.array(color)).max()) <= tolerance


def png_chunk(name: bytes, data: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a size."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_accepted_format_is_decoded(kind: str) -> None:
    """Red stays left and green stays right in each of the formats."""
    rgb = decode(saved(halves(), kind), LIMITS)
    assert rgb.shape == (20, 40, 3)
    assert rgb.dtype == np.uint8
    assert near(rgb, 10, 5, RED)
    assert near(rgb, 10, 35, GREEN)


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG"), ("RGBA", "WEBP")])
def test_every_colour_mode_becomes_rgb(mode: str, kind: str) -> None:
    """Inks, palettes and opaque alpha show the same colours."""
    rgb = decode(saved(halves(mode), kind), LIMITS)
    assert near(rgb, 10, 5, RED)
    assert near(rgb, 10, 35, GREEN)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_pictures_have_three_equal_channels(mode: str) -> None:
    """Black and white, grey, and grey with alpha become grey RGB."""
    rgb = decode(saved(Image.linear_gradient("L").convert(mode), "PNG"), LIMITS)
    assert rgb.shape == (256, 256, 3)
    assert np.array_equal(rgb[..., 0], rgb[..., 2])
    assert rgb[0].max() < rgb[255].min()


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    """A 16-bit depth map keeps its order: the high byte is what remains."""
    levels = np.array([[0, 0x0100, 0x7FFF, 0x8000, 0xFFFF]], dtype=np.uint16)
    rgb = decode(saved(Image.fromarray(levels), "PNG"), LIMITS)
    assert rgb[0, :, 0].tolist() == [0, 1, 127, 128, 255]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_flattened_on_white(kind: str) -> None:
    """What is transparent becomes white, whatever colour hides there, and half transparent becomes lighter."""
    picture = halves("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((40, 20)))
    rgb = decode(saved(picture, kind, **({"lossless": True} if kind == "WEBP" else {})), LIMITS)
    assert near(rgb, 0, 5, WHITE)
    assert near(rgb, 19, 5, RED)
    assert near(rgb, 10, 5, (255, 122, 122), tolerance=20)


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_colour_becomes_white(kind: str) -> None:
    """Transparency that is one entry of a palette counts too."""
    picture = halves("P")
    index = picture.getpixel((5, 5))
    rgb = decode(saved(picture, kind, transparency=index), LIMITS)
    assert near(rgb, 10, 5, WHITE)
    assert near(rgb, 10, 35, GREEN)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    """The second frame does not matter, whatever is on it."""
    frames = [Image.new("RGB", (16, 16), color) for color in (RED, GREEN)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decode(content, LIMITS), 8, 8, RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "shape", "red_at"),
    [
        *[(1, (20, 40, 3), (10, 5)), (2, (20, 40, 3), (10, 35)), (3, (20, 40, 3), (10, 35))],
        *[(4, (20, 40, 3), (10, 5)), (5, (40, 20, 3), (5, 10)), (6, (40, 20, 3), (5, 10))],
        *[(7, (40, 20, 3), (35, 10)), (8, (40, 20, 3), (35, 10)), (99, (20, 40, 3), (10, 5))],
    ],
)
def test_the_camera_orientation_is_applied(
    kind: str, orientation: int, shape: tuple[int, ...], red_at: tuple[int, int]
) -> None:
    """A picture taken with the camera turned is upright; an orientation that does not exist is ignored."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    rgb = decode(saved(halves(), kind, exif=exif), LIMITS)
    assert rgb.shape == shape
    assert near(rgb, *red_at, RED)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_does_not_cost_the_picture() -> None:
    """Nonsense where the orientation would be counts as upright."""
    content = saved(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert near(decode(content, LIMITS), 10, 5, RED)


@pytest.mark.parametrize("size", [(8000, 8000), (60_000, 60_000), (70_000, 2), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    """More pixels than allowed are refused while next to nothing is allocated."""
    content = bomb(*size)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"limit|damaged") as caught:
            decode(content, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.code == "image_unreadable"


def huge_jpeg() -> bytes:
    """A small JPEG whose frame header (SOF0) was changed to 65,000x65,000 pixels."""
    content = bytearray(saved(halves(), "JPEG"))
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


def huge_webp() -> bytes:
    """An animated WebP of one small frame on a canvas of 12,000x12,000 pixels."""
    frame = saved(halves(), "WEBP", lossless=True)[12:]
    side = (11_999).to_bytes(3, "little")
    header = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + side + side
    place = b"\0" * 6 + (39).to_bytes(3, "little") + (19).to_bytes(3, "little") + (100).to_bytes(3, "little") + b"\0"
    animation = b"ANIM" + struct.pack("<I", 6) + b"\0" * 6
    animation += b"ANMF" + struct.pack("<I", len(place + frame)) + place + frame
    return b"RIFF" + struct.pack("<I", len(b"WEBP" + header + animation)) + b"WEBP" + header + animation


def huge_gif() -> bytes:
    """A small GIF whose logical screen was changed to 65,000x65,000 pixels."""
    content = bytearray(saved(halves(), "GIF"))
    content[6:10] = struct.pack("<HH", 65_000, 65_000)
    return bytes(content)


@pytest.mark.parametrize("make", [huge_jpeg, huge_webp, huge_gif])
def test_every_format_is_measured_before_it_is_decoded(make: Callable[[], bytes]) -> None:
    """The pixel limit does not depend on the format."""
    with pytest.raises(ImageError, match="limit") as caught:
        decode(make(), LIMITS)
    assert caught.value.code == "image_unreadable"


def test_a_picture_at_the_pixel_limit_is_read() -> None:
    """The limit itself is allowed; up to half as much again is halved, and more is refused."""
    content = saved(halves(), "PNG")
    assert decode(content, Limits(max_pixels=800)).shape == (20, 40, 3)
    assert decode(content, Limits(max_pixels=799)).shape == (10, 20, 3)
    assert decode(content, Limits(max_pixels=534)).shape == (10, 20, 3)
    with pytest.raises(ImageError, match="40x20"):
        decode(content, Limits(max_pixels=533))


def test_too_many_bytes_are_refused() -> None:
    """The byte limit holds for whoever calls."""
    content = saved(halves(), "BMP")
    with pytest.raises(ImageError, match="larger than the limit"):
        decode(content, Limits(max_bytes=len(content) - 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.9])
def test_a_truncated_picture_is_unreadable(kind: str, kept: float) -> None:
    """Half a picture is an error, never a grey lower half."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), kind)
    with pytest.raises(ImageError) as caught:
        decode(content[: int(len(content) * kept)], LIMITS)
    assert caught.value.code == "image_unreadable"


@pytest.mark.parametrize(
    ("content", "likeness"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf\n<?xml version='1.0'?><svg/>", "SVG"),
        (b"<!DOCTYPE html><title>Not found</title>", "web page"),
        (b"II+\0" + b"\0" * 60, "TIFF"),
        (b"\0\0\0\x18ftypqt  " + b"\0" * 60, "video"),
        (b"%PDF-1.7", "PDF"),
        (b'{"error": "gone"}', "JSON"),
        (b"I am a text file called picture.png", "something else"),
        (b"", "empty"),
    ],
)
def test_everything_else_is_refused_by_what_it_looks_like(content: bytes, likeness: str) -> None:
    """A name or a claimed type never matters; the error says what it is and what is accepted."""
    with pytest.raises(ImageError, match=likeness) as caught:
        decode(content, LIMITS)
    assert caught.value.code == "image_unreadable"
    assert "PNG, JPEG, WebP" in caught.value.hint


@given(
    start=st.sampled_from(
        [
            *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF\x40\0\0\0WEBPVP8 ", b"RIFF    WEBPVP8X"),
            *(b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypheic"),
        ]
    ),
    rest=st.binary(max_size=200),
)
def test_any_bytes_end_in_pixels_or_in_our_error(start: bytes, rest: bytes) -> None:
    """Whatever a decoder stumbles over, the caller sees one kind of error."""
    with suppress(ImageError):
        assert decode(start + rest, LIMITS).ndim == 3
