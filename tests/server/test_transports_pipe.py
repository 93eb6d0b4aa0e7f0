"""What only a server over stdio has: the length of its lines, and how it ends."""

import base64
import io
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from anyio import IncompleteRead, fail_after
from PIL import Image
from pydantic import JsonValue

from controlnet_mcp.server.mcp.messages import Message, Unreadable
from controlnet_mcp.server.transports.stdio import StandardInput
from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.views import Job
from tests.support.disconnecting_clients import INITIALIZED, compact, request
from tests.support.server_process import Era, Pipe, Place, piped

pytestmark = pytest.mark.anyio

LIMIT_BYTES = 1_000_000
"""A common host drops longer results, and clients built on the SDK longer events."""
HANDSHAKE: dict[str, JsonValue] = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


@pytest.fixture
def place(tmp_path: Path, pictures: Path) -> Place:
    """An empty data folder."""
    return Place(tmp_path / "data", pictures)


@pytest.fixture
async def pipe(place: Place, tmp_path: Path) -> AsyncGenerator[Pipe]:
    """A running server, spoken to line by line."""
    with fail_after(120):
        async with piped(place, tmp_path / "stderr") as opened:
            yield opened


def text_of(result: dict[str, JsonValue]) -> str:
    """The text of a tool's first block."""
    match result:
        case {"content": [{"type": "text", "text": str(text)}, *_], "isError": False}:
            return text
        case _:
            raise AssertionError(result)


async def call(pipe: Pipe, tool: str, **arguments: JsonValue) -> tuple[str, int]:
    """Call a tool and give its first text, and the length of the line in bytes."""
    result, size_bytes = await pipe.ask("tools/call", name=tool, arguments=arguments)
    return text_of(result), size_bytes


async def test_the_list_of_tools_is_short_on_the_wire(pipe: Pipe) -> None:
    """Clients pay for it on every turn: the whole line, envelope included."""
    result, size_bytes = await pipe.ask("tools/list")
    assert isinstance(result["tools"], list)
    assert len(result["tools"]) == 7
    assert size_bytes < 6000


async def test_the_oldest_handshake_is_answered(pipe: Pipe) -> None:
    """A client of 2024 gets the revision that it knows, and the same short list."""
    result, _ = await pipe.request("initialize", HANDSHAKE)
    assert result["protocolVersion"] == "2024-11-05"
    await pipe.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    _, size_bytes = await pipe.request("tools/list", {})
    assert size_bytes < 6000


async def test_no_message_is_too_long_for_its_reader(pipe: Pipe, pictures: Path) -> None:
    """Originals of 4096 pixels are read as smaller copies, which say where the original is."""
    with Image.open(pictures / "photo.png") as photo:
        photo.resize((4096, 1024), Image.Resampling.BICUBIC).save(pictures / "large.jpg", quality=95)
    large = str(pictures / "large.jpg")
    text, _ = await call(
        pipe, "controlnet_generate", prompt="an oil painting", control_image=large, width=4096, wait_seconds=50
    )
    job = Job.model_validate_json(text)
    assert job.images is not None, text
    assert job.images[0].width == 4096
    made = MapView.model_validate_json((await call(pipe, "extract_control_map", image=large, modality="gray"))[0])
    await call(pipe, "job_status", job_id=job.job_id)
    for uri, path in ((job.images[0].uri, job.images[0].path), (job.control_map_uri, None), (made.uri, made.path)):
        result, _ = await pipe.ask("resources/read", uri=uri)
        match result["contents"]:
            case [{"blob": str(blob), "mimeType": str(mime_type)}]:
                assert path is None, "an original of this size does not fit"
                assert mime_type == "image/png"
            case [{"blob": str(blob), "mimeType": str(mime_type)}, {"text": str(text)}]:
                assert mime_type == "image/jpeg"
                assert "4096x1024" in text
                assert path is None or str(path) in text
            case other:
                raise AssertionError(other)
        with Image.open(io.BytesIO(base64.b64decode(blob))) as copy:
            assert copy.width >= 512
    assert pipe.longest_bytes < LIMIT_BYTES
    assert pipe.longest_bytes > 100_000, "the pictures were not measured"


async def test_a_photo_of_a_camera_is_answered_in_time(pipe: Pipe, pictures: Path) -> None:
    """Some hosts give up after five seconds: with every default, a 2048 pixel photo is a job within four."""
    with Image.open(pictures / "photo.png") as photo:
        photo.resize((2048, 2048), Image.Resampling.BICUBIC).save(pictures / "camera.jpg", quality=92)
    with fail_after(120):
        text, _ = await call(
            pipe, "controlnet_generate", prompt="an oil painting", control_image=str(pictures / "camera.jpg")
        )
    job = Job.model_validate_json(text)
    assert job.elapsed_seconds < 15
    assert job.status in {"succeeded", "queued", "running"}


async def waiting_job(pipe: Pipe, pictures: Path) -> Job:
    """Start a job that waits in line for half a second."""
    text, _ = await call(
        pipe,
        "controlnet_generate",
        prompt="an oil painting",
        control_image=str(pictures / "photo.png"),
        width=128,
        height=128,
        provider_options={"simulate": "queued", "seconds": 0.5},
        wait_seconds=0,
    )
    return Job.model_validate_json(text)


async def is_finished_by_the_next_process(place: Place, job_id: str, log: Path) -> bool:
    """Whether another process on the same folder finishes a job."""
    async with piped(place, log) as successor:
        text, _ = await call(successor, "job_status", job_id=job_id, wait_seconds=30)
    return Job.model_validate_json(text).status == "succeeded"


async def test_the_server_ends_with_its_client(pipe: Pipe, place: Place, tmp_path: Path) -> None:
    """A host closes the pipe while a job waits: the process ends by itself, silently, and the next one goes on."""
    job = await waiting_job(pipe, place.pictures)
    assert pipe.process.stdin is not None
    await pipe.process.stdin.aclose()
    with fail_after(120):
        assert await pipe.process.wait() == 0
    assert (tmp_path / "stderr").read_text(encoding="utf-8") == ""
    assert await is_finished_by_the_next_process(place, job.job_id, tmp_path / "successor")


async def piped_in(pipe: Pipe, *lines: bytes) -> dict[int, dict[str, JsonValue]]:
    """Send lines and close stdin at once, as in `echo LINES | controlnet-mcp`; gives the answers by their ids."""
    assert pipe.process.stdin is not None
    await pipe.process.stdin.send(b"".join(lines))
    await pipe.process.stdin.aclose()
    answers: dict[int, dict[str, JsonValue]] = {}
    with suppress(IncompleteRead):
        while True:
            message = json.loads(await pipe.lines.receive_until(b"\n", LIMIT_BYTES))
            if "method" not in message:
                answers[message["id"]] = message
    assert await pipe.process.wait() == 0
    return answers


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_what_was_asked_before_the_end_of_stdin_is_answered(pipe: Pipe, era: Era, tmp_path: Path) -> None:
    """All requests that are there at once, and a line that is no message."""
    opening = [request(era, 1, "initialize", HANDSHAKE), INITIALIZED] if era == "legacy" else []
    asked: dict[str, JsonValue] = {"name": "list_models", "arguments": {"provider": "draft"}}
    lines = [*opening, request(era, 2, "tools/list", {}), request(era, 3, "tools/call", asked)]
    answers = await piped_in(pipe, *map(compact, lines), b'{"jsonrpc": "2.0", "id": 4, "method": 5}\n')
    assert [number for number, answer in answers.items() if "error" in answer] == [4]
    assert {number for number, answer in answers.items() if "result" in answer} == ({1, 2, 3} if opening else {2, 3})
    assert "Traceback" not in (tmp_path / "stderr").read_text(encoding="utf-8")


async def test_a_call_that_waits_at_the_end_of_stdin_is_given_its_job(pipe: Pipe, place: Place, tmp_path: Path) -> None:
    """It is answered within the bound, with the job as it stands; nobody may have read that, so the job is not new."""
    asked: dict[str, JsonValue] = {
        "prompt": "an oil painting",
        "control_image": str(place.pictures / "photo.png"),
        "provider_options": {"simulate": "queued", "seconds": 600},
        "wait_seconds": 120,
    }
    line = compact(request("auto", 1, "tools/call", {"name": "controlnet_generate", "arguments": asked}))
    with fail_after(50):
        answers = await piped_in(pipe, line)
    match answers[1]["result"]:
        case {"content": [{"text": str(text)}, *_]}:
            job = Job.model_validate_json(text)
        case other:
            raise AssertionError(other)
    assert job.status in {"queued", "running"}
    async with piped(place, tmp_path / "again") as again:
        text, _ = await call(again, "controlnet_generate", **(asked | {"wait_seconds": 0}))
    assert Job.model_validate_json(text).job_id == job.job_id


async def test_an_idle_server_waits_for_nothing_at_the_end_of_stdin() -> None:
    """Nothing was asked, or everything was answered, cancelled, or is a stream: the end comes at once."""
    sender, receiver = anyio.create_memory_object_stream[Message | Unreadable]()
    with sender, receiver:
        stdin = StandardInput(sender, receiver)
        for number, method in enumerate(("tools/list", "tools/call", "subscriptions/listen")):
            stdin.take(types.JSONRPCRequest(jsonrpc="2.0", id=number, method=method))
        stdin.answered(types.JSONRPCResponse(jsonrpc="2.0", id=0, result={}))
        cancel = {"requestId": 1}
        stdin.take(types.JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=cancel))
        with anyio.CancelScope() as scope:
            scope.cancel()  # any wait would end here
            await stdin.drain()
        assert stdin.ended
        assert not scope.cancelled_caught


async def test_a_signal_ends_the_server(pipe: Pipe, tmp_path: Path) -> None:
    """A host that does not close the pipe sends a signal: no traceback."""
    await pipe.ask("tools/list")
    pipe.process.send_signal(signal.SIGTERM)
    with fail_after(120):
        assert await pipe.process.wait() == 0
    assert "Traceback" not in (tmp_path / "stderr").read_text(encoding="utf-8")


async def test_a_line_that_is_no_message_does_no_harm(pipe: Pipe) -> None:
    """Whatever comes over the pipe, the next request is answered."""
    assert pipe.process.stdin is not None
    for line in (
        b"not json\n",
        b"\n",
        b"[]\n",
        b'{"jsonrpc": "2.0", "method": 5}\n',
        b"\xff\xfe\n",
        b"{" * 5000 + b"\n",
    ):
        await pipe.process.stdin.send(line)
    result, _ = await pipe.ask("tools/list")
    assert result["tools"]
