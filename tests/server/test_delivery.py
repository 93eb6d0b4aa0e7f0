"""When a job counts as delivered: only if the call that was answered was not given up, in the last moment or later."""

from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from pathlib import Path

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from pydantic import JsonValue

from controlnet_mcp.server.mcp.delivery import ONLY_CLIENT, Deliveries, RecentAnswers, serve_client
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.shutdown import background
from tests.server.test_transports import photo
from tests.support.disconnecting_clients import HANDSHAKE, INITIALIZED, request
from tests.support.mcp_session import SIDE, GiveUp, Reply, Session, open_session
from tests.support.server_process import Era, Pipe, Place, Web, piped

pytestmark = pytest.mark.anyio
ERAS: tuple[Era, ...] = ("auto", "legacy")
MOMENTS = 40
FIRST_CALL = 100


@pytest.fixture
async def pipe(tmp_path: Path, pictures: Path) -> AsyncGenerator[Pipe]:
    """A server over stdio."""
    with anyio.fail_after(120):
        async with piped(Place(tmp_path / "data", pictures), tmp_path / "stderr") as opened:
            yield opened


async def finished_unseen(session: Session) -> str:
    """A job that is done, and that no answer has named."""
    with anyio.CancelScope() as scope:
        await session.generate(GiveUp(scope), provider_options={"simulate": "queued", "seconds": 0.1})
    services = session.application.services
    (job,) = (await services.jobs.store.page("local", status=None, provider=None, limit=2, cursor=None)).jobs
    while not (await services.jobs.store.get(job.job_id, "local")).ended:
        await anyio.lowlevel.checkpoint()
    return job.job_id


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_is_cancelled_at_whatever_moment_was_not_answered(settings: Settings, era: Era) -> None:
    """Its job is not delivered, whether the server was reading, drawing the preview, noting or writing just then."""
    with anyio.fail_after(120):
        async with (
            open_session(settings) as session,
            create_client_server_memory_streams() as ((hear, say), (read, write)),
            background() as tasks,
        ):
            job_id, service = await finished_unseen(session), session.application.services.jobs
            server = build_server(session.application, local=True)
            tasks.start_soon(serve_client, server, read, write, Deliveries(service))
            answered: list[types.JSONRPCMessage] = []
            tasks.start_soon(collect, hear, answered)
            if era == "legacy":
                await say.send(message(request(era, 1, "initialize", HANDSHAKE)))
                await say.send(message(INITIALIZED))
            for moment in range(MOMENTS):
                call: dict[str, JsonValue] = {"name": "job_status", "arguments": {"job_id": job_id}}
                await say.send(message(request(era, FIRST_CALL + moment, "tools/call", call)))
                with anyio.move_on_after(moment * 0.0005):
                    await anyio.Event().wait()
                params: dict[str, JsonValue] = {"requestId": FIRST_CALL + moment}
                await say.send(message({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
                while (await service.store.get(job_id, "local")).delivered:
                    await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            assert not (await service.store.get(job_id, "local")).delivered
    answers = [row.id for row in answered if isinstance(row, types.JSONRPCResponse)]
    assert FIRST_CALL not in answers, "it was cancelled before it could be answered"


def message(body: Mapping[str, JsonValue]) -> SessionMessage:
    """A message as transports hand it on."""
    return SessionMessage(types.jsonrpc_message_adapter.validate_python(body, by_name=False))


async def collect(hear: AsyncIterable[SessionMessage | Exception], heard: list[types.JSONRPCMessage]) -> None:
    """Hear everything."""
    async for row in hear:
        assert isinstance(row, SessionMessage)
        heard.append(row.message)


async def test_a_client_that_cancels_what_was_just_answered_had_given_up(pipe: Pipe, pictures: Path) -> None:
    """The cancel crosses the answer on its way: the same call again is given the same job."""
    arguments: dict[str, JsonValue] = {
        "prompt": "x",
        "control_image": str(pictures / "photo.png"),
        "width": SIDE,
        "wait_seconds": 20,
    }
    call: dict[str, JsonValue] = {"name": "controlnet_generate", "arguments": arguments}
    first, _ = await pipe.ask("tools/call", **call)
    cancelled: dict[str, JsonValue] = {"requestId": pipe.number, "reason": "timed out"}
    await pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
    again, _ = await pipe.ask("tools/call", **call)
    other, _ = await pipe.ask("tools/call", **call)
    jobs = [Reply(types.CallToolResult.model_validate(row)).job.job_id for row in (first, again, other)]
    assert jobs[0] == jobs[1] != jobs[2]


async def test_a_late_cancel_counts_over_http_too(web: Web) -> None:
    """In the sessions of the earlier revisions; another session's request of the same number is not meant."""
    async with httpx2.AsyncClient(base_url=web.origin, timeout=30) as client:
        mine, theirs = [await opened_session(client) for _ in range(2)]
        arguments: dict[str, JsonValue] = {
            "prompt": "late",
            "control_image": photo(web),
            "width": SIDE,
            "wait_seconds": 20,
        }
        call = request("legacy", 2, "tools/call", {"name": "controlnet_generate", "arguments": arguments})
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}}
        jobs: list[str] = []
        for session in (theirs, mine, None):
            answer = await client.post("/mcp", json=call, headers=mine)
            line = next(row for row in answer.text.splitlines() if row.startswith("data: {"))
            message = types.JSONRPCResponse.model_validate_json(line.removeprefix("data: "))
            jobs.append(Reply(types.CallToolResult.model_validate(message.result)).job.job_id)
            if session is not None:
                await client.post("/mcp", json=cancel, headers=session)
    assert jobs[0] != jobs[1] == jobs[2]


async def opened_session(client: httpx2.AsyncClient) -> dict[str, str]:
    """The header fields of a fresh session."""
    accept = {"accept": "application/json, text/event-stream"}
    answer = await client.post("/mcp", json=request("legacy", 1, "initialize", HANDSHAKE), headers=accept)
    headers = {**accept, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
    await client.post("/mcp", json=INITIALIZED, headers=headers)
    return headers


async def test_only_the_latest_answers_are_remembered() -> None:
    """A connection that lives for months does not fill the memory."""
    answers = RecentAnswers()
    for number in range(1000):
        answers.put(ONLY_CLIENT, str(number), f"job_{number}")
    assert len(answers.jobs) == 100
    assert answers.pop(ONLY_CLIENT, "0") is None
    assert answers.pop((None, "other session"), "999") is None
    assert answers.pop(("other caller", None), "999") is None
    assert answers.pop(ONLY_CLIENT, "999") == "job_999"
