"""FIELD B1, masks as editors write them: what their maker meant is repainted, or nothing is bought."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from controlnet_mcp.tools.views import Job
from tests.support.mcp_session import Session
from tests.support.picture_files import png_of_16_bits, put, saved

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
SIDE = 256
BOX = (64, 96, 160, 192)
"""The area that all of these masks mean: left, top, right, bottom."""


def area() -> npt.NDArray[np.bool_]:
    """The meant area."""
    inside = np.zeros((SIDE, SIDE), dtype=np.bool_)
    inside[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    return inside


def levels(outside: int, inside: int, mode: str = "L") -> Image.Image:
    """Two levels."""
    return Image.fromarray(np.where(area(), inside, outside).astype(np.uint8)).convert(mode)


def layer(colour: tuple[int, int, int], alpha: int = 255, hidden: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """One colour on an empty layer, whose hidden colour is another."""
    picture = Image.new("RGBA", (SIDE, SIDE), (*hidden, 0))
    ImageDraw.Draw(picture).rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=(*colour, alpha))
    return picture


def photo() -> Image.Image:
    """A picture of many colours."""
    noise = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def holed(picture: Image.Image, left: int = 0) -> Image.Image:
    """A picture with a transparent hole, in which so much alpha is left."""
    made = picture.convert("RGBA")
    made.putalpha(levels(255, left))
    return made


def painted(ground: tuple[int, int, int], paint: tuple[int, int, int]) -> Image.Image:
    """Paint on a ground of another colour, without alpha."""
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    ImageDraw.Draw(picture).rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=paint)
    return picture


def soft() -> Image.Image:
    """A layer that was painted with a soft brush."""
    made = layer((255, 255, 255))
    made.putalpha(made.getchannel("A").resize((SIDE // 8, SIDE // 8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return made


@dataclass(frozen=True, slots=True)
class Case:
    """A mask file, and words of the notice about it; no words where nothing has to be said."""

    make: Callable[[], bytes]
    says: str = ""


CASES = {
    "white on black": Case(lambda: saved(levels(0, 255))),
    "white on black, one bit": Case(lambda: saved(levels(0, 255, "1"))),
    "white on black, colours": Case(lambda: saved(levels(0, 255, "RGB"))),
    "white on black, JPEG": Case(lambda: saved(levels(0, 255, "RGB"), "JPEG", quality=70)),
    "white on black, opaque alpha": Case(lambda: saved(levels(0, 255, "RGBA"))),
    "white on black, 16 bits": Case(lambda: png_of_16_bits(np.where(area(), 65535, 0))),
    "hole in a picture": Case(lambda: saved(holed(photo())), "hole"),
    "hole in a picture, WebP": Case(lambda: saved(holed(photo()), "WEBP"), "hole"),
    "hole in a plate of one colour": Case(lambda: saved(holed(Image.new("RGB", (SIDE, SIDE), "black"))), "hole"),
    "half erased hole": Case(lambda: saved(holed(photo(), left=100)), "hole"),
    "white on an empty layer": Case(lambda: saved(layer((255, 255, 255))), "empty layer"),
    "white on an empty white layer": Case(lambda: saved(layer((255, 255, 255), hidden=(255, 255, 255))), "empty layer"),
    "red on an empty layer": Case(lambda: saved(layer((255, 0, 0))), "empty layer"),
    "black on an empty layer": Case(lambda: saved(layer((0, 0, 0))), "empty layer"),
    "black on an empty palette": Case(
        lambda: saved(Image.fromarray(area().astype(np.uint8)).convert("P"), transparency=0), "empty layer"
    ),
    "half transparent green on an empty layer": Case(lambda: saved(layer((20, 200, 40), alpha=128)), "empty layer"),
    "red on an empty layer, lossy": Case(lambda: saved(layer((255, 0, 0)), "WEBP", quality=60), "empty layer"),
    "soft brush on an empty layer": Case(lambda: saved(soft()), "empty layer"),
    "values 0 and 1": Case(lambda: saved(levels(0, 1)), "grey levels"),
    "values 0 and 1, 16 bits": Case(lambda: png_of_16_bits(np.where(area(), 1, 0))),
    "values 0 and 255, 16 bits": Case(lambda: png_of_16_bits(np.where(area(), 255, 0))),
    "values 0 and 100": Case(lambda: saved(levels(0, 100)), "grey levels"),
    "values 90 and 120": Case(lambda: saved(levels(90, 120)), "grey levels"),
    "values 140 and 255": Case(lambda: saved(levels(140, 255)), "grey levels"),
    "red on white": Case(lambda: saved(painted((255, 255, 255), (255, 0, 0))), "painted part"),
    "red on black": Case(lambda: saved(painted((0, 0, 0), (220, 0, 0))), "painted part"),
    "green on grey, JPEG": Case(lambda: saved(painted((128, 128, 128), (0, 230, 0)), "JPEG"), "painted part"),
    "another size": Case(lambda: saved(levels(0, 255).resize((SIDE // 2, SIDE // 2))), "scaled"),
    "another aspect": Case(lambda: saved(levels(0, 255).resize((SIDE, SIDE // 2))), "scaled"),
    "on its side by EXIF": Case(lambda: saved(levels(0, 255).transpose(Image.Transpose.ROTATE_90), exif=_turned())),
    "TIFF": Case(lambda: saved(levels(0, 255), "TIFF")),
}


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[274] = 6
    return exif


@pytest.fixture
def start(session: Session) -> str:
    """The picture that is to be repainted in part."""
    return put(session.pictures, "start.png", saved(photo()))


async def mask_of(session: Session, job: Job) -> npt.NDArray[np.uint8]:
    """The mask as every provider is handed it."""
    with Image.open(
        io.BytesIO(await session.read_picture(f"controlnet://jobs/{job.job_id}/sources/mask_image"))
    ) as made:
        assert made.mode == "RGB"
        return np.asarray(made.convert("L"), dtype=np.uint8)


@pytest.mark.parametrize("name", CASES)
async def test_a_mask_means_what_its_maker_meant(session: Session, start: str, name: str) -> None:
    """B1: the meant area is white and the rest black, in the size of the picture; how it was taken is told."""
    path = put(session.pictures, "mask", CASES[name].make())
    job = (await session.generate(init_image=start, control_image=start, modality="inpaint", mask_image=path)).job
    assert job.status == "succeeded"
    mask = await mask_of(session, job)
    assert mask.shape == (SIDE, SIDE)
    assert ((mask > 127) != area()).mean() < 0.012, name
    said = [row.detail for row in job.warnings or () if row.feature == "mask_image"]
    assert any(CASES[name].says in detail for detail in said) if CASES[name].says else not said, said


async def test_outside_of_a_hole_nothing_is_repainted(session: Session, start: str) -> None:
    """B1: with a picture with a transparent hole, the result differs inside the hole alone."""
    path = put(session.pictures, "mask.png", saved(holed(photo())))
    reply = await session.generate(
        init_image=start,
        control_image=start,
        modality="inpaint",
        mask_image=path,
        strength=1.0,
        width=SIDE,
        height=SIDE,
        provider_options={"mark": False},
    )
    with Image.open(
        io.BytesIO(await session.read_picture(reply.job.images[0].uri if reply.job.images else ""))
    ) as made:
        changed = (np.asarray(made, dtype=np.int16) != np.asarray(photo(), dtype=np.int16)).any(axis=2)
    assert changed[area()].mean() > 0.5
    assert not changed[~area()].any()


def noise_on_black() -> Image.Image:
    """A black sheet with the noise of a camera or of JPEG."""
    return Image.fromarray(np.random.default_rng(5).integers(0, 4, (SIDE, SIDE), dtype=np.uint8))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: saved(levels(0, 0)), "black"),
        (lambda: saved(levels(255, 255)), "white"),
        (lambda: saved(Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 0))), "transparent"),
        (lambda: saved(levels(0, 0, "RGB"), "JPEG"), "black"),
        (lambda: saved(levels(255, 255, "RGB"), "JPEG"), "white"),
        (lambda: saved(noise_on_black()), "black"),
        (lambda: saved(Image.new("L", (SIDE, SIDE), 1)), "black"),
        (lambda: saved(Image.new("RGB", (SIDE, SIDE), (255, 0, 0))), "white"),
        (lambda: png_of_16_bits(np.zeros((SIDE, SIDE), dtype=np.uint16)), "black"),
        (lambda: saved(Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 255))), "black"),
    ],
)
async def test_a_blank_mask_is_refused_before_anything_is_bought(
    session: Session, start: str, make: Callable[[], bytes], says: str
) -> None:
    """B1: a mask of one level is an error that says what it would do, and there is no job."""
    path = put(session.pictures, "mask", make())
    reply = await session.generate(init_image=start, control_image=start, mask_image=path)
    assert reply.error.code == "image_unreadable"
    assert f"{says} throughout" in reply.error.message
    assert "mask_image" in reply.error.hint
    assert (await session.call("list_jobs")).listed == ()


async def test_a_mask_is_the_same_when_a_job_is_repeated(session: Session, start: str) -> None:
    """B1: what was made of a mask is a mask, so reading it again changes nothing and says nothing."""
    path = put(session.pictures, "mask.png", saved(layer((255, 0, 0))))
    first = (await session.generate(init_image=start, control_image=start, modality="inpaint", mask_image=path)).job
    again = (await session.generate(like_job=first.job_id, control_image=start, prompt="another one")).job
    assert np.array_equal(await mask_of(session, first), await mask_of(session, again))
    assert [row for row in again.warnings or () if row.feature == "mask_image"] == []


async def test_a_plan_says_how_a_mask_is_taken(session: Session, start: str) -> None:
    """B1: the notice stands in a dry run too, before anything is paid for."""
    path = put(session.pictures, "mask.png", saved(levels(0, 1)))
    reply = await session.generate(init_image=start, control_image=start, mask_image=path, dry_run=True)
    assert "grey levels of the mask were stretched" in reply.text
