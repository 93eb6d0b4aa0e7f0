"""FIELD B2 to B5, picture files as people have them: deep maps, transparency, colour profiles, phones, broken ends."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image, ImageDraw

from controlnet_mcp.images import pillow_decoder
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.images.references import Reference
from controlnet_mcp.jobs.request import GenerateRequest
from controlnet_mcp.tools.extract_control_map import MapView
from tests.support.mcp_session import Reply, Session
from tests.support.picture_files import (
    ADOBE_RGB,
    DISPLAY_P3,
    SRGB,
    Primaries,
    chunk,
    gradient,
    heic,
    in_srgb,
    png_of_16_bits,
    profile,
    put,
    saved,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


async def taken(session: Session, content: bytes, modality: str, **more: bool) -> tuple[Rgb, list[str]]:
    """The control picture of a job that was made of a file, and what was said about it."""
    path = put(session.pictures, "file", content)
    job = (await session.generate(control_image=path, modality=modality, **more)).job
    assert job.status == "succeeded", job.error
    stored = await session.read_picture(f"controlnet://jobs/{job.job_id}/sources/control_image")
    with Image.open(io.BytesIO(stored)) as picture:
        pixels = np.asarray(picture, dtype=np.uint8)
    return pixels, [row.detail for row in job.warnings or () if (row.kind, row.feature) == ("assumed", "control_image")]


def map_of(reply: Reply) -> MapView:
    """The facts of a map."""
    assert not reply.result.is_error, reply.text
    return MapView.model_validate_json(reply.text)


DEEP: dict[str, Callable[[], bytes]] = {
    "16-bit PNG": lambda: png_of_16_bits(gradient()),
    "16-bit PNG with alpha": lambda: png_of_16_bits(np.dstack((gradient() + 1, (gradient() > 0) * 65535))),
    "16-bit PNG in colours": lambda: png_of_16_bits(np.dstack((gradient(),) * 3)),
    "16-bit PNG in colours with alpha": lambda: png_of_16_bits(
        np.dstack((gradient(),) * 3 + ((gradient() > 0) * 65535,))
    ),
    "16-bit PNG with a transparent colour": lambda: png_of_16_bits(gradient(), chunk(b"tRNS", b"\0\0")),
    "16-bit TIFF": lambda: saved(gradient(), "TIFF"),
    "16-bit TIFF, deflated": lambda: saved(gradient(), "TIFF", compression="tiff_adobe_deflate"),
    "32-bit TIFF": lambda: saved(gradient().astype(np.int32), "TIFF"),
    "float TIFF in metres": lambda: saved((gradient() / 1000).astype(np.float32), "TIFF"),
    "float TIFF with gaps": lambda: saved(np.where(gradient(), gradient() / 1000, np.nan).astype(np.float32), "TIFF"),
    "16-bit PNG whose highest value is no measurement": lambda: png_of_16_bits(
        np.where(gradient(), gradient(), np.uint16(65535))
    ),
    "float TIFF with infinity": lambda: saved(
        np.where(gradient(), gradient() / 1000, np.inf).astype(np.float32), "TIFF"
    ),
    "float TIFF of disparities, negative": lambda: saved(
        np.where(gradient(), -1000 / np.maximum(gradient(), 1), np.nan).astype(np.float32), "TIFF"
    ),
    "12 bits in 16": lambda: png_of_16_bits(np.minimum(gradient(), 4095)),
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("modality", ["depth", "normal"])
async def test_a_deep_depth_map_is_stretched_to_its_own_range(session: Session, name: str, modality: str) -> None:
    """B2: millimetres, metres and few bits of many fill the range, 0 stays black, and the polarity is told."""
    pixels, said = await taken(session, DEEP[name](), modality, control_is_map=True)
    measured = pixels[gradient() > 0]
    assert (measured.min(), measured.max()) == (1, 255)
    assert not pixels[gradient() == 0].any()
    assert np.all(np.diff(pixels[:, 0, 0].astype(int)) >= 0)
    assert any("Near must be bright" in detail for detail in said)


@pytest.mark.parametrize(
    ("lowest", "highest", "warns"), [(0, 65535, 0), (300, 65000, 0), (100, 40000, 1), (9, 6000, 2)]
)
async def test_a_narrow_range_of_depth_is_told(session: Session, lowest: int, highest: int, warns: int) -> None:
    """B2: nothing is said of a full range, that it was stretched of another, and a tenth or less is warned of."""
    values = np.repeat(np.linspace(lowest, highest, 96).astype(np.uint16)[:, None], 128, axis=1)
    pixels, said = await taken(session, png_of_16_bits(values), "depth", control_is_map=True)
    assert len(said) == warns, said
    assert any("hardly tells near from far" in detail for detail in said) == (warns > 1)
    assert pixels.max() == 255


async def test_16_bits_that_hold_8_are_as_bright_as_8(session: Session) -> None:
    """B2: any picture, of which today nothing but black is left."""
    levels = np.repeat(np.arange(0, 250, 2, dtype=np.uint16)[None, :], 90, axis=0)
    pixels, _ = await taken(session, png_of_16_bits(levels), "tile")
    assert np.array_equal(pixels[..., 0], levels)
    pixels, _ = await taken(session, png_of_16_bits(np.dstack((levels,) * 3)), "tile")
    assert np.array_equal(pixels[..., 0], levels)


async def test_a_picture_of_12_bits_in_16_is_not_black(session: Session) -> None:
    """B2: a plain picture that uses a sixteenth of its range is stretched, and that is told."""
    levels = np.repeat(np.linspace(0, 4095, 128).astype(np.uint16)[None, :], 90, axis=0)
    pixels, said = await taken(session, png_of_16_bits(levels), "tile")
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert any("stretched to full contrast" in detail for detail in said)


async def test_a_dim_picture_of_48_bits_keeps_its_colours(session: Session) -> None:
    """B2: Pillow keeps the high bytes of such pictures, in which there is nothing where they hold 12 bits."""
    levels = np.repeat(np.linspace(0, 4000, 128).astype(np.uint16)[None, :], 90, axis=0)
    pixels, _ = await taken(session, png_of_16_bits(np.dstack((levels, levels // 2, levels // 4))), "tile")
    assert np.abs(pixels[45, -1].astype(int) - (255, 127, 63)).max() <= 1


async def test_normals_of_millimetres_are_made(session: Session) -> None:
    """B2: `extract_control_map` takes a deep depth map as `controlnet_generate` does, and says so."""
    path = put(session.pictures, "depth.png", png_of_16_bits(gradient()))
    made = map_of(await session.call("extract_control_map", image=path, modality="normal"))
    assert any("stretched" in note for note in made.notes or ())


def strokes(colour: tuple[int, int, int], hidden: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """A house in strokes of a colour on a transparent ground."""
    picture = Image.new("RGBA", (160, 128), (*hidden, 0))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((40, 56, 120, 112), outline=(*colour, 255), width=4)
    pen.line((30, 58, 80, 16, 130, 58), fill=(*colour, 255), width=4)
    return picture


def lit(pixels: Rgb) -> float:
    """The share of pixels that stand out from the corner."""
    return float((np.abs(pixels.astype(int) - pixels[0, 0].astype(int)).max(axis=2) > 60).mean())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize(
    ("colour", "ground"),
    [
        ((255, 255, 255), 0),
        ((250, 240, 210), 0),
        ((180, 180, 180), 0),
        ((110, 110, 110), 255),
        ((255, 255, 0), 0),
        ((0, 0, 0), 255),
        ((200, 30, 30), 255),
    ],
)
async def test_strokes_stand_out_from_their_ground(
    session: Session, kind: str, colour: tuple[int, int, int], ground: int
) -> None:
    """B3: light strokes on transparency are put on black, dark ones on white; the first is told."""
    for hidden in (colour, (0, 0, 0), (255, 255, 255)):
        pixels, said = await taken(session, saved(strokes(colour, hidden), kind), "scribble")
        assert pixels[0, 0].tolist() == [ground] * 3
        assert 0.03 < lit(pixels) < 0.3
        assert any("black was put behind" in detail for detail in said) == (ground == 0)


async def test_a_shape_that_is_in_alpha_alone_is_seen(session: Session) -> None:
    """B3: where all pixels are white, or black, their alpha is the drawing."""
    shape = strokes((255, 255, 255)).getchannel("A")
    for colour, ground in ((255, 0), (0, 255)):
        picture = Image.new("RGBA", shape.size, (colour, colour, colour, 255))
        picture.putalpha(shape)
        for form in (picture, picture.convert("LA")):
            pixels, _ = await taken(session, saved(form), "scribble")
            assert pixels[0, 0].tolist() == [ground] * 3
            assert lit(pixels) > 0.03


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("blanks", [1, 3])
async def test_a_blank_first_frame_is_passed_over(session: Session, kind: str, blanks: int) -> None:
    """B3: an animation that fades in is what its first frame with something on it shows."""
    drawing = Image.new("RGB", (160, 128), "white")
    drawing.paste("black", mask=strokes((0, 0, 0)).getchannel("A"))
    sheets = [Image.new("RGB", drawing.size, (255 - index, 255, 255)) for index in range(blanks)]
    content = saved(sheets[0], kind, save_all=True, append_images=[*sheets[1:], drawing, drawing.rotate(180)])
    pixels, _ = await taken(session, content, "scribble")
    assert lit(pixels) > 0.03
    assert pixels[20:60].min() < 90 < pixels[:12].min(), "it is the first such frame"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("background", ["black", None])
async def test_a_picture_that_fades_in_is_waited_for(session: Session, kind: str, background: str | None) -> None:
    """B3: the first frames are black or transparent, the next nearly so; the one that is taken can be seen."""
    full = photo(96, 72).convert("RGBA")
    ground = Image.new("RGBA", full.size, background or (0, 0, 0, 0))
    frames = [Image.blend(ground, full, step / 20) for step in range(21)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    pixels, _ = await taken(session, content, "tile")
    assert int(pixels.max()) - int(pixels.min()) > 48


@pytest.mark.parametrize("modality", ["canny", "scribble", "lineart", "tile", "gray", "normal"])
async def test_no_step_is_proposed_with_a_blank_map(session: Session, modality: str) -> None:
    """B3: a map with nothing on it is not proposed as a control picture."""
    path = put(session.pictures, "blank.png", saved(Image.new("RGB", (128, 96), (90, 90, 90))))
    made = map_of(await session.call("extract_control_map", image=path, modality=modality))
    assert "controlnet_generate" not in made.next
    assert "blank" in made.next
    photo = str(session.pictures / "photo.png")
    if modality != "normal":
        assert (
            "controlnet_generate"
            in map_of(await session.call("extract_control_map", image=photo, modality=modality)).next
        )


PATCHES = ((200, 60, 40), (40, 180, 90), (60, 80, 200), (128, 128, 128), (230, 200, 120), (0, 0, 0), (255, 255, 255))


def patches(mode: str = "RGB") -> Image.Image:
    """Squares of colour."""
    picture = Image.new("RGB", (32 * len(PATCHES), 32))
    for index, colour in enumerate(PATCHES):
        picture.paste(colour, (32 * index, 0, 32 * index + 32, 32))
    return picture.convert(mode)


PROFILES: dict[str, tuple[Primaries, float | None]] = {
    "Display P3": (DISPLAY_P3, None),
    "Adobe RGB": (ADOBE_RGB, 563 / 256),
    "linear sRGB": (SRGB, 1.0),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "PNG with alpha"])
async def test_a_colour_profile_is_applied(session: Session, name: str, kind: str) -> None:
    """B4: what is stored and sent is sRGB, whatever the file's own colours are."""
    options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100},
    }
    picture = patches("RGBA" if "alpha" in kind else "RGB")
    if "alpha" in kind:
        picture.putpixel((0, 0), (0, 0, 0, 0))
    icc = profile(*PROFILES[name])
    content = saved(picture, kind.split(maxsplit=1)[0], icc_profile=icc, **options.get(kind, {}))
    pixels, _ = await taken(session, content, "tile")
    for index, colour in enumerate(PATCHES):
        found = pixels[16, 32 * index + 16].astype(float)
        assert np.abs(found - in_srgb(colour, *PROFILES[name])).max() < (5 if kind in {"JPEG", "AVIF"} else 3), colour


@pytest.mark.parametrize(
    "icc",
    [
        b"",
        b"x" * 3000,
        profile(DISPLAY_P3)[:300],
        profile(DISPLAY_P3)[:128] + struct.pack(">I", 2**32 - 1) + profile(DISPLAY_P3)[132:],
        profile(DISPLAY_P3).replace(b"RGB XYZ ", b"CMYKXYZ "),
        profile(DISPLAY_P3).replace(b"curv", b"\xff\xff\xff\xff"),
        profile(SRGB),
        profile(SRGB, entries=4096),
    ],
    ids=["none", "noise", "cut", "count", "space", "curve", "sRGB", "sRGB, longer table"],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_profile_that_is_broken_or_usual_changes_nothing(session: Session, kind: str, icc: bytes) -> None:
    """B4: a broken profile is ignored, and sRGB's own leaves every value as it is."""
    options = {"WEBP": {"lossless": True}}.get(kind, {})
    plain, _ = await taken(session, saved(patches(), kind, **options), "tile")
    pixels, _ = await taken(session, saved(patches(), kind, icc_profile=icc, **options), "tile")
    assert np.array_equal(pixels, plain)


def photo(width: int, height: int) -> Image.Image:
    """A picture that a camera could have taken, in little memory."""
    small = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


TIFFS: tuple[dict[str, object], ...] = (
    {},
    {"compression": "tiff_lzw"},
    {"compression": "tiff_adobe_deflate"},
    {"compression": "packbits"},
    {"compression": "jpeg"},
    {"big_endian": True},
)


@pytest.mark.parametrize(
    ("kind", "options", "mode"),
    [
        *(("AVIF", {}, mode) for mode in ("RGB", "L", "RGBA")),
        *(
            ("TIFF", options, mode)
            for options, mode in product(TIFFS, ("RGB", "L", "CMYK", "RGBA"))
            if (mode, options) != ("RGBA", {"compression": "jpeg"})  # there is no such file
        ),
    ],
)
async def test_avif_and_tiff_are_read(session: Session, kind: str, options: dict[str, object], mode: str) -> None:
    """B5: in all modes and compressions that programs write."""
    usual, _ = await taken(session, saved(photo(120, 90).convert("L" if mode == "L" else "RGB")), "tile")
    pixels, _ = await taken(session, saved(photo(120, 90).convert(mode), kind, **options), "tile")
    assert pixels.shape == (90, 120, 3)
    close = np.abs(pixels.astype(int).mean(axis=2) - usual.astype(int).mean(axis=2)).mean()
    assert close < 12


async def test_a_turned_tiff_is_turned_once(session: Session) -> None:
    """B5: its orientation is a tag of the format, which two parts of a decoder may apply."""
    file = io.BytesIO()
    photo(120, 90).save(file, "TIFF", tiffinfo={274: 6})
    pixels, _ = await taken(session, file.getvalue(), "tile")
    usual, _ = await taken(session, saved(photo(120, 90).transpose(Image.Transpose.ROTATE_270)), "tile")
    assert np.array_equal(pixels, usual)


@pytest.mark.parametrize(
    ("kind", "size", "read"),
    [
        ("JPEG", (8160, 6120), (4080, 3060)),
        ("JPEG", (6048, 8064), (3024, 4032)),
        ("PNG", (8160, 6120), (4080, 3060)),
        ("JPEG", (16320, 12240), (4080, 3060)),
    ],
    ids=["50 MP", "48 MP, upright", "50 MP PNG", "200 MP"],
)
async def test_a_phone_photo_of_50_megapixels_is_read(
    session: Session, kind: str, size: tuple[int, int], read: tuple[int, int]
) -> None:
    """B5: it is decoded smaller, instead of refused for its size."""
    options = {"quality": 40} if kind == "JPEG" else {"compress_level": 1}
    sheet = Image.new("L", size, 90)
    sheet.paste(200, (size[0] // 2, 0, *size))
    path = put(session.pictures, "phone", saved(sheet, kind, **options))
    made = map_of(await session.call("extract_control_map", image=path, modality="canny", previews=False))
    assert (made.width, made.height) == read
    assert made.coverage > 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
async def test_heic_is_read_where_its_extra_is_installed(session: Session, mode: str) -> None:
    """B5: as iPhones take it: upright, with a profile of its own."""
    usual, _ = await taken(session, saved(photo(160, 120).convert(mode)), "tile")
    exif = Image.Exif()
    exif[274] = 6
    turned = photo(160, 120).convert(mode).transpose(Image.Transpose.ROTATE_90)
    pixels, _ = await taken(session, heic(turned, exif=exif.tobytes(), quality=90), "tile")
    assert pixels.shape == usual.shape
    assert np.abs(pixels.astype(int) - usual.astype(int)).mean() < 8
    pixels, _ = await taken(session, heic(patches(), icc_profile=profile(DISPLAY_P3), quality=100), "tile")
    assert np.abs(pixels[16, 16] - in_srgb(PATCHES[0], DISPLAY_P3)).max() < 9


async def test_heic_without_its_extra_is_told_the_extra(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """B5: the error says what it is, how else to pass it, and what the operator can install."""
    monkeypatch.delitem(pillow_decoder.DECODERS, "image/heic")
    reply = await session.call("extract_control_map", image=put(session.pictures, "IMG_1.HEIC", heic(photo(64, 48))))
    assert reply.error.code == "image_unreadable"
    assert "HEIC" in reply.error.message
    assert "controlnet-mcp[heic]" in reply.error.hint
    assert "JPEG" in reply.error.hint


def cut(missing: int, **options: object) -> bytes:
    """A JPEG without its last bytes."""
    content = saved(photo(640, 480), "JPEG", quality=92, **options)
    return content[: len(content) - missing]


@pytest.mark.parametrize("missing", [1, 2, 3, 12])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
async def test_a_jpeg_without_its_last_bytes_is_read(
    session: Session, missing: int, options: dict[str, object]
) -> None:
    """B5: a download that lost the end marker, or a little more, is the same picture."""
    whole, _ = await taken(session, cut(0, **options), "tile")
    pixels, _ = await taken(session, cut(missing, **options), "tile")
    differing = (pixels != whole).any(axis=2).mean()
    assert differing == 0 if missing < 3 else differing < 0.01


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("kept", [0.15, 0.3, 0.5, 0.7, 0.8, 0.93])
async def test_a_jpeg_that_lost_more_is_refused(session: Session, kept: float, options: dict[str, object]) -> None:
    """B5: half a picture is an error, never a grey or coarse lower half."""
    content = cut(0, **options)
    path = put(session.pictures, "half.jpg", content[: int(len(content) * kept)])
    reply = await session.generate(control_image=path, modality="tile")
    assert reply.error.code == "image_unreadable"


@pytest.mark.parametrize(
    ("content", "says", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS", "git lfs pull"),
        (saved(Image.new("RGB", (32, 32)), "ICO"), "a Windows icon", "PNG"),
        (b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + b"\0" * 60, "a video", "PNG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + b"\0" * 60, "raw photo", "JPEG"),
        (b"II*\0\x10\0\0\0CR\2\0" + b"\0" * 60, "raw photo", "JPEG"),
        (b"8BPS\0\1" + b"\0" * 60, "Photoshop", "PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 60, "JPEG XL", "PNG"),
        (b"\x1a\x45\xdf\xa3" + b"\0" * 60, "video", "PNG"),
        (b"PK\3\4" + b"\0" * 60, "ZIP", "PNG"),
    ],
)
async def test_what_is_not_read_is_named_truly(session: Session, content: bytes, says: str, hint: str) -> None:
    """B5: nothing that people hand in is `something else`, and the way out fits what it is."""
    path = put(session.pictures, "file", content)
    reply = await session.call("extract_control_map", image=path)
    assert reply.error.code == "image_unreadable"
    assert says in reply.error.message
    assert hint in reply.error.hint


class Elsewhere(PictureReader):
    """Reads one file, whatever link is asked for."""

    content: ClassVar[bytes]

    async def _linked(self, named: Reference) -> bytes:  # noqa: ARG002  # as that of the reader
        return self.content


@pytest.mark.parametrize(
    ("content", "modality", "kept"),
    [
        (saved(photo(64, 48)), "tile", True),
        (saved(photo(64, 48), "JPEG"), "canny", True),
        (saved(strokes((0, 0, 0))), "tile", True),
        (saved(strokes((255, 255, 255))), "tile", False),
        (png_of_16_bits(gradient()), "depth", False),
        (saved(photo(64, 48), "AVIF"), "tile", False),
        (saved(photo(64, 48), "TIFF"), "tile", False),
    ],
    ids=["PNG", "JPEG", "dark on nothing", "light on nothing", "millimetres", "AVIF", "TIFF"],
)
async def test_a_link_is_passed_on_only_where_it_shows_what_was_read(
    session: Session, monkeypatch: pytest.MonkeyPatch, content: bytes, modality: str, *, kept: bool
) -> None:
    """B2 to B5: a provider that takes links is sent the picture itself where the file says something else to others."""
    monkeypatch.setattr(Elsewhere, "content", content, raising=False)
    ours = session.application.services.reader
    reader = Elsewhere(ours.blobs, ours.limits, (), frozenset(), ours.resolve_resource)
    preparer = replace(session.application.services.jobs.preparer, reader=reader)
    link = "https://pictures.example/file"
    asked = GenerateRequest(prompt="a house", control_image=link, modality=modality, control_is_map=True)
    prepared = await preparer.prepare(asked, local_paths=False, owner="local")
    assert prepared.request.controls[0].source_url == (link if kept else None)
