"""All transports, with clients of both eras of the protocol: the same tools, jobs, pictures and prompts."""

import base64
import hashlib
import io
from collections.abc import AsyncGenerator
from typing import TypeAlias

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from PIL import Image

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.tools import TOOLS
from tests.support.mcp_session import SIDE, WAIT_SECONDS, GiveUp, Reply
from tests.support.server_process import Era, Transport, Web, connected

pytestmark = pytest.mark.anyio

CONNECTIONS: tuple[tuple[Transport, Era], ...] = (
    ("stdio", "auto"),
    ("stdio", "legacy"),
    ("http", "auto"),
    ("http", "legacy"),
    ("sse", "auto"),
    ("sse", "legacy"),
)
Connection: TypeAlias = tuple[Client, Transport, Era]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the module, so that its tests can share connections."""
    return "asyncio"


@pytest.fixture(scope="module", params=CONNECTIONS, ids="-".join)
async def connection(
    request: pytest.FixtureRequest, web: Web, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Connection]:
    """A client on every transport, in every era."""
    transport, era = request.param
    log = tmp_path_factory.mktemp("log") / "stderr"
    async with connected(transport, era, web, log) as client:
        yield client, transport, era
    assert not log.exists() or log.read_text(encoding="utf-8") == ""


def photo(web: Web, name: str = "photo.png") -> str:
    """The photo, or the sketch, as a `data:` URI, which every transport accepts."""
    content = (web.place.pictures / name).read_bytes()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


async def generated(client: Client, web: Web) -> Reply:
    """The answer to a small generation."""
    arguments = {
        "prompt": "an oil painting",
        "control_image": photo(web),
        "width": SIDE,
        "height": SIDE,
        "wait_seconds": WAIT_SECONDS,
    }
    return Reply(await client.call_tool("controlnet_generate", arguments))


async def test_everything_is_listed(connection: Connection) -> None:
    """Name, version, instructions, tools, resources, templates and prompts, in the era that was asked for."""
    client, _, era = connection
    assert client.protocol_version == ("2026-07-28" if era == "auto" else "2025-11-25")
    assert client.server_info is not None
    assert client.server_info.name == "controlnet"
    assert client.instructions
    assert [tool.name for tool in (await client.list_tools()).tools] == [tool.name for tool in TOOLS]
    assert {row.name for row in (await client.list_resources()).resources} == {"modalities", "providers", "jobs"}
    assert len((await client.list_resource_templates()).resource_templates) == 6
    assert {"sketch_to_render", "restyle"} <= {row.name for row in (await client.list_prompts()).prompts}


async def test_a_picture_is_made_and_read(connection: Connection, web: Web) -> None:
    """The original has the promised bytes, by resource and by link; a path is only given to the same machine."""
    client, transport, _ = connection
    reply = await generated(client, web)
    job = reply.job
    assert job.images is not None, job.error
    (image,) = job.images
    (contents,) = (await client.read_resource(image.uri)).contents
    assert isinstance(contents, types.BlobResourceContents)
    content = base64.b64decode(contents.blob)
    assert (len(content), hashlib.sha256(content).hexdigest()) == (image.size_bytes, image.sha256)
    assert contents.mime_type == image.mime_type
    assert len(reply.previews) == 1
    if transport == "stdio":
        assert image.path is not None
        assert image.path.read_bytes() == content
        assert reply.originals == []
    else:
        assert image.path is None
        async with httpx2.AsyncClient() as browser:
            assert (await browser.get(*reply.originals)).content == content
    control_map = (await client.read_resource(str(job.control_map_uri))).contents[0]
    assert isinstance(control_map, types.BlobResourceContents)


@pytest.mark.parametrize("name", ["photo.png", "sketch.png"])
async def test_every_modality_gives_a_picture_of_the_promised_size(connection: Connection, web: Web, name: str) -> None:
    """A photo and a drawing, each with every structure: a job, a preview, a link, and bytes that decode."""
    client, _, _ = connection
    side, picture = 64, photo(web, name)
    for modality in MODALITIES:
        arguments = {"prompt": modality, "control_image": picture, "modality": modality, "width": side, "height": side}
        reply = Reply(await client.call_tool("controlnet_generate", {**arguments, "wait_seconds": WAIT_SECONDS}))
        assert reply.job.images is not None, (modality, reply.job.error)
        assert (len(reply.previews), reply.links) == (1, [])
        (contents,) = (await client.read_resource(reply.job.images[0].uri)).contents
        assert isinstance(contents, types.BlobResourceContents)
        with Image.open(io.BytesIO(base64.b64decode(contents.blob))) as decoded:
            assert decoded.size == (side, side)


async def test_prompts_and_completions_work(connection: Connection) -> None:
    """A prompt is worded with its arguments; names are completed; a wrong name is a protocol error."""
    client, _, _ = connection
    prompt = await client.get_prompt("restyle", {"image": "a.png", "look": "in winter"})
    (message,) = prompt.messages
    assert isinstance(message.content, types.TextContent)
    assert "a.png" in message.content.text
    assert "in winter" in message.content.text
    template = types.ResourceTemplateReference(uri="controlnet://jobs/{job_id}")
    for name, value, expected in (
        ("modality", "dep", "depth"),
        ("provider", "dr", "draft"),
        ("model", "wat", "watercolour"),
        ("name", "mask", "mask_image"),
    ):
        completion = (await client.complete(template, {"name": name, "value": value})).completion
        assert expected in completion.values
    for name, arguments in (("restyl", {}), ("restyle", {"image": "a.png"})):
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
        assert caught.value.error.code == types.INVALID_PARAMS


async def test_a_job_is_completed_by_its_beginning(connection: Connection, web: Web) -> None:
    """Whoever types the start of a job's id is offered it."""
    client, _, _ = connection
    job_id = (await generated(client, web)).job.job_id
    template = types.ResourceTemplateReference(uri="controlnet://jobs/{job_id}")
    completion = (await client.complete(template, {"name": "job_id", "value": job_id[:12]})).completion
    assert job_id in completion.values


async def test_local_files_are_read_for_the_same_machine_only(connection: Connection, web: Web) -> None:
    """Over a port the caller may be anywhere, so a path is refused with what can be passed instead."""
    client, transport, _ = connection
    path = str(web.place.pictures / "photo.png")
    reply = Reply(await client.call_tool("extract_control_map", {"image": path}))
    if transport == "stdio":
        assert not reply.result.is_error
    else:
        assert reply.error.code == "image_blocked"
        assert "data: URI" in reply.error.hint


async def test_progress_is_heard(connection: Connection, web: Web) -> None:
    """Notifications arrive before the answer."""
    client, _, _ = connection
    heard: list[float] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert total
        assert message
        heard.append(progress)

    arguments = {
        "prompt": "an oil painting",
        "control_image": photo(web),
        "width": SIDE,
        "height": SIDE,
        "provider_options": {"simulate": "progress", "seconds": 0.3},
    }
    reply = Reply(await client.call_tool("controlnet_generate", arguments, progress_callback=hear))
    assert reply.job.status == "succeeded"
    assert heard
    assert heard == sorted(set(heard))


async def test_a_client_that_gives_up_does_not_stop_its_job(connection: Connection, web: Web) -> None:
    """The call is cancelled, the job goes on, and the same arguments find it again."""
    client, _, _ = connection
    arguments = {
        "prompt": "an oil painting that takes its time",
        "control_image": photo(web),
        "width": SIDE,
        "height": SIDE,
        "wait_seconds": WAIT_SECONDS,
        "provider_options": {"simulate": "progress", "seconds": 2},
    }
    before = {row.job_id for row in Reply(await client.call_tool("list_jobs", {})).listed}
    with anyio.CancelScope() as scope:
        await client.call_tool("controlnet_generate", arguments, progress_callback=GiveUp(scope))
    assert scope.cancelled_caught
    (abandoned,) = {row.job_id for row in Reply(await client.call_tool("list_jobs", {})).listed} - before
    job = Reply(await client.call_tool("controlnet_generate", arguments)).job
    assert (job.job_id, job.status) == (abandoned, "succeeded")
