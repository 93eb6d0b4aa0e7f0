"""`controlnet_generate` and its answer, through a client."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import JsonValue

from tests.support.mcp_session import SIDE, Session, open_session, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]

PREVIEW_BYTES, PREVIEW_SIDE = 150_000, 768


def opened(content: bytes) -> Image.Image:
    """A picture, decoded."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def holds_null(value: JsonValue) -> bool:
    """Whether there is a null anywhere inside."""
    match value:
        case dict():
            return any(holds_null(inner) for inner in value.values())
        case list():
            return any(holds_null(inner) for inner in value)
        case _:
            return value is None


async def test_a_photo_becomes_a_picture(session: Session) -> None:
    """One call with a picture and a prompt gives a finished picture of the asked size."""
    job = (await session.generate()).job
    assert job.status == "succeeded", job.error
    assert job.images is not None
    (image,) = job.images
    content = await session.read_picture(image.uri)
    assert opened(content).size == (image.width, image.height) == (SIDE, SIDE)
    assert len(content) == image.size_bytes
    assert image.path is not None
    assert image.path.read_bytes() == content


async def test_the_first_block_is_the_job_without_nulls(session: Session) -> None:
    """Every host shows text to the model, so all facts are there, as compact JSON."""
    reply = await session.generate()
    raw = json.loads(reply.text)
    assert not holds_null(raw)
    assert reply.text == json.dumps(raw, separators=(",", ":"), ensure_ascii=False)
    expected = {"job_id", "status", "provider", "controls", "prompt", "seed", "created_at", "updated_at", "images"}
    assert expected | {"elapsed_seconds", "next"} <= raw.keys()
    assert raw["controls"] == [{"modality": "canny", "weight": 1.0}]
    assert {"uri", "width", "height", "mime_type", "size_bytes", "sha256", "path"} <= raw["images"][0].keys()


async def test_pictures_come_as_a_preview_without_structured_content(session: Session) -> None:
    """H1: no block links to what is not https, which breaks one framework; the URI stands in the text.

    One common host drops pictures as soon as there is structured content.
    """
    reply = await session.generate(width=1024, height=768)
    assert [block.type for block in reply.result.content] == ["text", "image"]
    assert reply.result.structured_content is None
    (preview,) = reply.previews
    assert max(opened(preview).size) <= PREVIEW_SIDE
    assert len(preview) <= PREVIEW_BYTES
    assert reply.job.images is not None
    assert reply.job.images[0].uri.startswith("controlnet://")
    assert reply.job.images[0].uri in reply.text


async def test_the_operator_can_switch_links_on(tmp_path: Path, pictures: Path) -> None:
    """H1: hosts that read resource links get them for every address, without an image type where it is not https."""
    async with open_session(settings_for(tmp_path, pictures, resource_links=True)) as session:
        reply = await session.generate()
        typed = await session.generate(previews=False)
    assert [block.type for block in reply.result.content] == ["text", "image", "resource_link"]
    assert [block.type for block in typed.result.content] == ["text", "resource_link"]
    (link,) = reply.links
    assert reply.job.images is not None
    assert (link.uri, link.size) == (reply.job.images[0].uri, reply.job.images[0].size_bytes)
    assert link.mime_type is None, "one framework hands links with an image type to the model provider"


async def test_without_previews_the_answer_is_typed(session: Session) -> None:
    """`previews=false` gives the same job as structured content, whose URIs are where they were."""
    reply = await session.generate(previews=False)
    assert [block.type for block in reply.result.content] == ["text"]
    assert reply.result.structured_content == json.loads(reply.text)
    again = await session.call("job_status", job_id=reply.job.job_id, previews=False)
    assert again.previews == []
    assert again.result.structured_content == json.loads(again.text)


async def test_the_operator_can_switch_previews_off(tmp_path: Path, pictures: Path) -> None:
    """Then no caller gets them."""
    async with open_session(settings_for(tmp_path, pictures, previews=False)) as session:
        reply = await session.generate(previews=True)
    assert reply.previews == []
    assert reply.result.structured_content == json.loads(reply.text)


async def test_an_unfinished_job_is_typed(session: Session) -> None:
    """There is no picture block yet, so the structured content is there."""
    reply = await session.generate(wait_seconds=0, provider_options={"simulate": "queued", "seconds": 60})
    assert [block.type for block in reply.result.content] == ["text"]
    assert reply.result.structured_content == json.loads(reply.text)
    assert "job_status" in reply.job.next


async def test_three_pictures_differ_and_share_the_previews_budget(session: Session) -> None:
    """Each has a seed of its own, a URI of its own, and a third of the bytes."""
    reply = await session.generate(num_images=3, width=640, height=640)
    job = reply.job
    assert job.images is not None
    contents = [image.path.read_bytes() for image in job.images if image.path]
    assert len({opened(content).tobytes() for content in contents}) == 3
    assert len({image.uri for image in job.images}) == 3
    assert len(reply.previews) == 3
    assert sum(map(len, reply.previews)) <= PREVIEW_BYTES


async def test_the_same_seed_gives_the_same_bytes(session: Session) -> None:
    """A picture can be drawn again; another seed draws another one."""
    asked = [(7, "a"), (7, "b"), (8, "c")]
    jobs = [(await session.generate(seed=seed, request_key=key)).job for seed, key in asked]
    first, again, other = [job.images[0].sha256 for job in jobs if job.images]
    assert first == again != other
    assert [job.seed for job in jobs] == [7, 7, 8]


async def test_a_result_is_the_start_of_the_next_one(session: Session) -> None:
    """Its URI is accepted wherever a picture is."""
    first = (await session.generate()).job
    assert first.images is not None
    uri = first.images[0].uri
    second = (await session.generate(control_image=uri, init_image=uri, strength=0.5, prompt="in winter")).job
    assert second.status == "succeeded", second.error


async def test_the_control_map_of_a_job_can_be_read_and_used(session: Session) -> None:
    """The map that was made is a resource, as large as the picture, and a control picture for the next job."""
    job = (await session.generate()).job
    assert job.control_map_uri is not None
    assert opened(await session.read_picture(job.control_map_uri)).size == (SIDE, SIDE)
    again = (await session.generate(control_image=job.control_map_uri, control_is_map=True)).job
    assert again.status == "succeeded", again.error
    assert again.control_map_uri is None, "nothing was preprocessed a second time"


async def test_several_controls_have_weights(session: Session) -> None:
    """Modalities joined by commas share the picture; further controls have their own."""
    extra: dict[str, JsonValue] = {"modality": "lineart", "image": str(session.pictures / "sketch.png"), "weight": 0.3}
    job = (await session.generate(modality="canny:0.6, TILE:0.4", extra_controls=[extra])).job
    assert job.status == "succeeded", job.error
    rows = [(row.modality, row.weight) for row in job.controls]
    assert rows == [("canny", 0.6), ("tile", 0.4), ("lineart", 0.3)]


async def test_an_init_image_and_a_mask_repaint_one_part(session: Session) -> None:
    """Black parts of the mask keep the start picture exactly, white ones are drawn anew."""
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (0, 0, 128, 256))
    mask.save(session.pictures / "mask.png")
    photo, masked = (str(session.pictures / name) for name in ("photo.png", "mask.png"))
    reply = await session.generate(modality="inpaint", init_image=photo, mask_image=masked, width=256, height=256)
    assert reply.job.images is not None, reply.job.error
    drawn = opened(await session.read_picture(reply.job.images[0].uri)).convert("RGB")
    with Image.open(photo) as start:
        before = start.convert("RGB")
    kept, repainted = (136, 0, 256, 256), (8, 8, 120, 200)
    assert drawn.crop(kept).tobytes() == before.crop(kept).tobytes()
    assert drawn.crop(repainted).tobytes() != before.crop(repainted).tobytes()


async def test_what_the_provider_lacks_is_said(session: Session) -> None:
    """Settings without a place become warnings, one each, and the job is done all the same."""
    job = (await session.generate(steps=30, guidance=7.5, scheduler="euler")).job
    assert job.status == "succeeded"
    assert job.warnings is not None
    assert [row.feature for row in job.warnings if row.kind == "unsupported"] == ["steps", "guidance", "scheduler"]


async def test_a_model_that_there_is_not_is_said(session: Session) -> None:
    """The picture is drawn without it, and the answer does not claim it."""
    job = (await session.generate(model="watercolor")).job
    assert (job.status, job.model) == ("succeeded", None)
    (warning,) = [row for row in job.warnings or () if row.feature == "model"]
    assert "watercolour" in warning.detail


async def test_the_stand_in_says_that_it_is_one(session: Session) -> None:
    """A draft that nobody asked for comes with a notice; one that was asked for does not."""
    for provider, kinds in (("auto", ["draft"]), ("draft", [])):
        job = (await session.generate(provider=provider)).job
        assert [row.kind for row in job.warnings or () if row.feature == "provider"] == kinds
        assert job.ai_generated is False


async def test_what_becomes_of_a_photo_is_said(session: Session) -> None:
    """A photo keeps its own colours under its map, with a warning; drawings and maps that come alone have none."""
    photo, sketch = (str(session.pictures / name) for name in ("photo.png", "sketch.png"))
    first = (await session.generate(control_image=photo)).job
    assert first.control_map_uri is not None
    alone = (await session.generate(control_image=first.control_map_uri, control_is_map=True)).job
    drawing = (await session.generate(control_image=sketch)).job
    unmade = (await session.generate(control_image=photo, modality="depth")).job
    jobs = (first, alone, drawing, unmade)
    said = [[row.feature for row in job.warnings or () if "own colours" in row.detail] for job in jobs]
    assert said == [["canny"], [], [], ["depth"]]
    with Image.open(photo) as picture:
        own = np.asarray(picture.convert("L").resize((16, 16)), dtype=np.uint8)
    matches: list[float] = []
    for job in (first, alone):
        assert job.images is not None
        drawn = opened(await session.read_picture(job.images[0].uri)).convert("L").resize((16, 16))
        matches.append(float(np.corrcoef(own.ravel(), np.asarray(drawn, dtype=np.uint8).ravel())[0, 1]))
    assert matches[0] > 0.85 > matches[1]


async def test_the_size_follows_the_control_picture(session: Session) -> None:
    """Without a size the aspect of the picture is kept; with one side the other is found."""
    page = Image.new("RGB", (300, 150), "white")
    page.paste("black", (40, 40, 44, 110))
    page.save(session.pictures / "wide.png")
    wide = str(session.pictures / "wide.png")
    for width, height, size in ((512, None, (512, 256)), (None, 512, (1024, 512)), (None, None, (1448, 724))):
        reply = await session.generate(
            control_image=wide, control_is_map=True, dry_run=True, width=width, height=height
        )
        request = json.loads(reply.text)["request"]["json"]
        found = (request["width"], request["height"])
        assert found == pytest.approx(size, abs=8)
        assert found[0] % 8 == found[1] % 8 == 0


async def test_a_size_outside_the_limits_is_adjusted_and_said(session: Session) -> None:
    """The provider's limits are kept, and the caller learns what is drawn instead."""
    reply = await session.generate(width=20, height=8192, control_is_map=True, dry_run=True)
    shown = json.loads(reply.text)
    size = (shown["request"]["json"]["width"], shown["request"]["json"]["height"])
    assert size == (64, 4096)
    assert any(row["kind"] == "adjusted" and "64x4096" in row["detail"] for row in shown["warnings"])
