"""Resources and links: the lists, jobs and pictures under their addresses, and where originals are to be had."""

import base64
import io
import json
from pathlib import Path

import anyio
import mcp_types as types
import numpy as np
import pytest
from PIL import Image

from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.extract_control_map import MapView
from tests.support.mcp_session import Session, connect, open_session, settings_for

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


async def text(session: Session, uri: str) -> str:
    """The text of a resource that is one JSON document."""
    (contents,) = await session.read(uri)
    assert isinstance(contents, types.TextResourceContents)
    assert (contents.uri, contents.mime_type) == (uri, "application/json")
    return contents.text


async def test_the_lists_are_what_the_tools_say(session: Session) -> None:
    """One truth under two doors."""
    await session.generate()
    modalities = (await session.call("list_modalities")).text
    assert await text(session, "controlnet://modalities") == modalities
    providers = json.loads(await text(session, "controlnet://providers"))
    assert providers == {"modalities": [], "providers": json.loads(modalities)["providers"]}
    assert await text(session, "controlnet://jobs") == (await session.call("list_jobs")).text


async def test_a_job_is_what_its_tool_says(session: Session) -> None:
    """Under its own address."""
    job = (await session.generate()).job
    shown = await text(session, f"controlnet://jobs/{job.job_id}")
    assert json.loads(shown) == json.loads((await session.call("job_status", job_id=job.job_id)).text)


async def test_every_picture_of_a_job_has_an_address(session: Session) -> None:
    """Counted from 0, and nothing after the last."""
    job = (await session.generate(num_images=2)).job
    assert job.images is not None
    assert [image.uri for image in job.images] == [f"controlnet://jobs/{job.job_id}/images/{n}" for n in range(2)]
    for image in job.images:
        (contents,) = await session.read(image.uri)
        assert isinstance(contents, types.BlobResourceContents)
        assert contents.mime_type == image.mime_type == "image/png"
        assert len(base64.b64decode(contents.blob)) == image.size_bytes
    with pytest.raises(Exception, match="no resource"):
        await session.read(f"controlnet://jobs/{job.job_id}/images/2")


async def test_templates_name_every_address_of_a_job(session: Session) -> None:
    """A client can make addresses by itself."""
    templates = (await session.client.list_resource_templates()).resource_templates
    job = (await session.generate()).job
    fields = {"job_id": job.job_id, "index": "0", "name": "control_image"}
    named = {row.uri_template.format(map_id="0" * 64, **fields) for row in templates}
    assert job.images is not None
    own = f"controlnet://jobs/{job.job_id}"
    handed_in = f"{own}/sources/control_image"
    assert {own, job.images[0].uri, job.control_map_uri, job.sheet_uri, handed_in} <= named
    assert all(row.description for row in templates)


async def test_a_picture_that_does_not_fit_a_message_is_read_as_a_copy(session: Session) -> None:
    """A smaller encoding of the whole picture, and a text that says where the original is."""
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(session.pictures / "noise.png")
    reply = await session.call("extract_control_map", image=str(session.pictures / "noise.png"), modality="gray")
    made = MapView.model_validate_json(reply.text)
    assert made.path is not None
    size_bytes = made.path.stat().st_size
    assert size_bytes > 750_000
    copy, said = await session.read(made.uri)
    assert isinstance(copy, types.BlobResourceContents)
    assert isinstance(said, types.TextResourceContents)
    assert len(copy.blob) < 950_000
    with Image.open(io.BytesIO(base64.b64decode(copy.blob))) as picture:
        assert picture.format == "JPEG"
        assert picture.width / picture.height == pytest.approx(9 / 7, abs=0.02)
    assert "900x700" in said.text
    assert str(size_bytes) in said.text
    path = anyio.Path(said.text.rpartition(": ")[2])
    assert (await path.stat()).st_size == size_bytes


@pytest.mark.parametrize(("base_url", "linked"), [("https://pictures.example", True), ("http://127.0.0.1:1", False)])
@pytest.mark.parametrize("previews", [True, False])
async def test_links_of_a_server_with_a_port(
    settings: Settings, base_url: str, *, linked: bool, previews: bool
) -> None:
    """H1: a link block only where any machine can fetch it by https; elsewhere the signed address stands in a text."""
    links = FileLinks(base_url, b"secret", lambda: 0.0)
    async with (
        open_application(settings) as application,
        connect(build_server(application, links=links, local=False)) as client,
    ):
        session = Session(client, application, settings.allowed_folders[0])
        photo = base64.b64encode((session.pictures / "photo.png").read_bytes()).decode()
        reply = await session.generate(control_image=f"data:image/png;base64,{photo}", previews=previews)
        (url,) = reply.originals
        assert url.startswith(f"{base_url}/files/")
        assert [(link.uri, link.mime_type) for link in reply.links] == ([(url, "image/png")] if linked else [])
        kinds = ["text", *["image"] * previews, "resource_link" if linked else "text"]
        assert [block.type for block in reply.result.content] == kinds
        assert reply.job.images is not None
        assert reply.job.images[0].path is None
        assert reply.job.images[0].uri.startswith("controlnet://")


async def test_no_answer_to_another_machine_holds_a_path(settings: Settings) -> None:
    """Whoever is elsewhere learns nothing of this machine's folders, not from errors either."""
    async with open_session(settings, local=False) as session:
        photo = base64.b64encode((session.pictures / "photo.png").read_bytes()).decode()
        uri = f"data:image/png;base64,{photo}"
        job = (await session.generate(control_image=uri)).job
        replies = [
            await session.call("job_status", job_id=job.job_id),
            await session.call("list_jobs"),
            await session.call("extract_control_map", image=uri),
            await session.generate(control_image=str(session.pictures / "photo.png")),
            await session.generate(control_image="/etc/passwd"),
        ]
        texts = [reply.text for reply in replies] + [await text(session, "controlnet://jobs")]
    assert not any(str(settings.data_folder) in shown for shown in texts)


async def test_both_eras_get_the_same(settings: Settings) -> None:
    """A client of the handshake era sees the same tools, job and picture."""
    async with open_session(settings) as new:
        job = (await new.generate()).job
        async with connect(build_server(new.application, local=True), mode="legacy") as client:
            old = Session(client, new.application, new.pictures)
            assert client.protocol_version == "2025-11-25"
            reply = await old.call("job_status", job_id=job.job_id)
            assert reply.job == job
            assert [block.type for block in reply.result.content] == ["text", "image"]
            assert (await client.list_tools()).tools == (await new.client.list_tools()).tools


async def test_a_deleted_picture_is_told(session: Session) -> None:
    """The address is known, the picture is not there any more."""
    job = (await session.generate()).job
    assert job.images is not None
    assert job.images[0].path is not None
    job.images[0].path.unlink()
    with pytest.raises(Exception, match="deleted from the data folder"):
        await session.read(job.images[0].uri)


async def test_a_changed_picture_is_told(session: Session) -> None:
    """What lies in the data folder under a hash is checked against it."""
    job = (await session.generate()).job
    assert job.images is not None
    assert job.images[0].path is not None
    job.images[0].path.write_bytes(b"something else")
    with pytest.raises(Exception, match="changed on disk"):
        await session.read(job.images[0].uri)
    assert (await session.call("job_status", job_id=job.job_id)).job.status == "succeeded"


async def test_a_picture_that_grew_when_it_was_cleaned_is_used(tmp_path: Path) -> None:
    """A small file of a noisy camera is a PNG of more bytes than a caller may hand in."""
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    noise[:100, :100] = 0
    Image.fromarray(noise).save(tmp_path / "camera.jpg", quality=30)
    async with open_session(settings_for(tmp_path / "data", tmp_path, max_image_bytes=500_000)) as session:
        reply = await session.generate(control_image=str(tmp_path / "camera.jpg"), dry_run=True)
        assert not reply.result.is_error, reply.text
    assert max(path.stat().st_size for path in (tmp_path / "data").rglob("*.png")) > 500_000, "the premise of this test"


async def test_a_picture_larger_than_the_callers_limit_comes_home(tmp_path: Path, pictures: Path) -> None:
    """The operator's limits are for what callers hand in; a result was paid for."""
    narrow = settings_for(tmp_path, pictures, max_image_pixels=70_000, max_image_bytes=130_000)
    async with open_session(narrow) as session:
        job = (await session.generate(width=512, height=512)).job
        assert job.status == "succeeded", job.error
        assert job.images is not None
        assert job.images[0].size_bytes > 130_000
        assert await session.read_picture(job.images[0].uri)
