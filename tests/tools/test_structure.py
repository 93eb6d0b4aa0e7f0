"""What callers are told of structure: before they pay, that a picture is a map or blank; after, what was kept."""

import json

import numpy as np
import pytest
from PIL import Image
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.images.modalities import Appearance
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.structure_score import StructureScore
from controlnet_mcp.jobs.preprocess import check
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.providers.types import Control, ResolvedRequest, Takes
from controlnet_mcp.tools.views import next_step
from tests.support import sample_drawings
from tests.support.mcp_session import Session
from tests.support.structure_pairs import Rgb, map_of, photo

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

PICTURE = StoredPicture(sha256="0" * 64, mime_type="image/png", width=256, height=256, size_bytes=100)


def keep(session: Session, name: str, rgb: Rgb) -> str:
    """Save a picture where the server may read it."""
    path = session.pictures / f"{name}.png"
    Image.fromarray(rgb).save(path)
    return str(path)


def offered(
    seen: Appearance, modality: str = "canny", *, is_map: bool = False, takes: Takes = "map"
) -> tuple[bool, str]:
    """Whether a picture goes out as a map, and everything that is said about it."""
    control = Control(modality=modality, picture=PICTURE, is_map=is_map)
    checked, notices = check(control, seen, takes, "somebody")
    assert {row.kind for row in notices} <= {"assumed"}
    return checked.is_map, " ".join(row.detail for row in notices)


@pytest.mark.parametrize(
    ("seen", "modality"),
    [
        *(("edge", "canny"), ("edge", "mlsd"), ("sketch", "scribble"), ("sketch", "lineart")),
        *(("depth", "depth"), ("skeleton", "pose"), ("segmentation", "seg")),
    ],
)
def test_a_map_handed_in_without_a_word_is_not_preprocessed_again(seen: Appearance, modality: str) -> None:
    """It goes out as a map, and the remedy is named; said to be one, nothing is said."""
    is_map, told = offered(seen, modality, takes="either")
    assert is_map
    assert "control_is_map=true" in told
    assert offered(seen, modality, is_map=True) == (True, "")


def test_a_provider_that_always_preprocesses_is_no_place_for_a_map() -> None:
    """The map is not called one, because that changes nothing there; what happens is said."""
    is_map, told = offered("edge", "canny", takes="picture")
    assert not is_map
    assert "makes a map of whatever it gets" in told


@pytest.mark.parametrize("is_map", [True, False])
def test_a_map_of_something_else_names_its_own_modality(*, is_map: bool) -> None:
    """A skeleton has edges, but those of sticks."""
    kept, told = offered("skeleton", "canny", is_map=is_map)
    assert kept == is_map
    assert "modality=pose with control_is_map=true" in told
    assert offered("depth", "normal", is_map=is_map) == (is_map, "")


def test_a_photo_said_to_be_a_map_is_doubted() -> None:
    """But not a drawing said to be lines, nor what may be a normal map."""
    assert "leave control_is_map out" in offered("picture", "depth", is_map=True)[1]
    assert "leave control_is_map out" in offered("drawing", "pose", is_map=True)[1]
    assert offered("drawing", "canny", is_map=True) == (True, "")
    assert offered("picture", "normal", is_map=True) == (True, "")
    assert offered("picture", "tile", is_map=True) == (True, "")


@pytest.mark.parametrize("seen", ["picture", "drawing"])
@pytest.mark.parametrize("takes", ["map", "picture", "either"])
def test_a_plain_picture_passes_without_a_word(seen: Appearance, takes: Takes) -> None:
    """Whatever the provider takes."""
    assert offered(seen, "canny", takes=takes) == (False, "")


def test_a_blank_map_is_an_error_and_a_blank_look_a_warning() -> None:
    """Lines, depth, limbs and regions have nothing to keep; a plain tone may be meant."""
    for modality in ("canny", "depth", "pose", "seg"):
        with pytest.raises(ImageError, match="blank"):
            offered("blank", modality, is_map=True)
    assert "guide nothing" in offered("blank", "reference")[1]


@pytest.mark.parametrize(
    ("modality", "rgb"),
    [
        ("canny", map_of(photo("coffee.png"), "canny")),
        ("depth", sample_drawings.depth_map(256)),
        ("pose", sample_drawings.skeleton(256)),
        ("seg", sample_drawings.segmentation(256)),
    ],
)
async def test_a_forgotten_control_is_map_is_told_before_anything_is_paid(
    session: Session, modality: str, rgb: Rgb
) -> None:
    """A dry run says it, and sends the very map."""
    path = keep(session, "map", rgb)
    arguments: dict[str, JsonValue] = {"control_image": path, "modality": modality, "dry_run": True, "seed": 3}
    size = {"width": rgb.shape[1], "height": rgb.shape[0]}
    shown = json.loads((await session.generate(**(arguments | size))).text)
    told = [row["detail"] for row in shown["warnings"] if row["feature"] == modality]
    assert any("control_is_map=true" in detail for detail in told), shown["warnings"]
    said = json.loads((await session.generate(**(arguments | size), control_is_map=True)).text)
    assert not [row for row in said["warnings"] if row["feature"] == modality]
    assert said["request"]["json"] == shown["request"]["json"]


@pytest.mark.parametrize("level", [0, 255])
async def test_a_blank_map_is_refused(session: Session, level: int) -> None:
    """Black or white, said to be a map or not."""
    path = keep(session, "nothing", np.full((128, 128, 3), level, dtype=np.uint8))
    for is_map in (True, False):
        error = (await session.generate(control_image=path, modality="scribble", control_is_map=is_map)).error
        assert error.code == "image_unreadable"
        assert "blank" in error.message


async def test_a_picture_that_does_not_fit_is_told(session: Session) -> None:
    """Cropped, or smaller than the least that the provider draws; extra controls likewise."""
    small = keep(session, "small", np.ascontiguousarray(photo("coffee.png")[:30, :60]))
    shown = json.loads((await session.generate(control_image=small, dry_run=True, width=128, height=128)).text)
    told = [row["detail"] for row in shown["warnings"] if row["feature"] == "control_image"]
    assert [("cropped" in detail, "smaller" in detail) for detail in told] == [(True, False), (False, True)]
    extra: JsonValue = [{"modality": "tile", "image": small}]
    shown = json.loads((await session.generate(extra_controls=extra, dry_run=True, width=128, height=128)).text)
    told = [row["detail"] for row in shown["warnings"] if row["feature"] == "extra_controls"]
    assert len(told) == 2


async def test_a_finished_job_tells_how_much_was_kept(session: Session) -> None:
    """Metric, score and raw figure with every picture."""
    job = (await session.generate(control_image=str(session.pictures / "sketch.png"), modality="scribble")).job
    assert job.images is not None
    (image,) = job.images
    assert image.structure is not None
    assert image.structure.metric == "edge_f1"
    assert 0.35 < image.structure.score <= 1
    assert "little of" not in job.next


def finished(score: StructureScore | None, control: Control, control_map: StoredPicture | None = None) -> str:
    """What is said to do next about a finished job."""
    request = ResolvedRequest(prompt="a house", controls=(control,), width=64, height=64, seed=1)
    image = ResultImage(picture=PICTURE, structure=score)
    job = JobRecord(
        job_id="job_1",
        principal="somebody",
        provider="scripted",
        state="succeeded",
        request=request,
        reference="reference-1",
        created_at=0,
        updated_at=0,
        deadline_at=600,
        images=(image,),
        control_map=control_map,
    )
    return next_step(job)


def test_a_low_score_names_what_to_change() -> None:
    """Weight, modality, and whether the picture is a map: that it is one, or that it is none."""
    low = StructureScore(modality="scribble", metric="edge_f1", score=0.12, raw=0.3)
    given = finished(low, Control(modality="scribble", is_map=True))
    for part in ("0.12", "modality=scribble:1.4", "modality=canny", "control_is_map=false", "Show the user"):
        assert part in given
    made = finished(low, Control(modality="scribble", is_map=True, weight=2), PICTURE)
    assert "control_is_map=true" in made
    assert "scribble:" not in made


def test_a_good_score_and_a_look_say_nothing_and_a_pose_is_to_be_looked_at() -> None:
    """What was not measured is said to be so where a place in the picture was asked for."""
    good = StructureScore(modality="canny", metric="edge_f1", score=0.8, raw=0.8)
    plain = finished(good, Control(modality="canny"))
    assert plain == finished(None, Control(modality="reference"))
    assert "pose was kept was not measured" in finished(None, Control(modality="pose"))
