"""Callers that cancel or vanish, over every transport, in both eras, at every stage of a paid job.

Whatever they do: one charge, and the same call again is given the same job and its picture.
"""

import socket
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import anyio
import pytest
from mcp.client.client import Client
from pydantic import JsonValue

from tests.server.test_transports import CONNECTIONS
from tests.support.disconnecting_clients import HANDSHAKE, INITIALIZED, calling, request
from tests.support.mcp_session import Reply
from tests.support.server_process import Era, Place, Transport, Web, connected, piped, serving_http
from tests.support.stalled_provider import STAGES, Stage, StalledProvider

pytestmark = pytest.mark.anyio
SECONDS = 120
Way: TypeAlias = Literal["cancel", "vanish"]


@pytest.fixture(scope="module")
def paid(vendor: StalledProvider, tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Generator[Web]:
    """A server with a port that uses the vendor."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    place = Place(tmp_path_factory.mktemp("paid") / "data", pictures)
    with serving_http(place, port, **vendor.variables) as server:
        yield server
    assert "Traceback" not in "".join(server.log), "".join(server.log)


async def cancelled(client: Client, vendor: StalledProvider, prompt: str, stage: Stage) -> None:
    """Call, and cancel the call when it has come to a stage."""
    hold = vendor.hold(prompt, stage)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "controlnet_generate", vendor.arguments(prompt))
        await hold.arrived()
        tasks.cancel_scope.cancel()
    hold.release()


async def vanished(
    transport: Transport, era: Era, paid: Web, vendor: StalledProvider, prompt: str, stage: Stage
) -> None:
    """Call over a port, and break the connection when the call has come to a stage."""
    hold = vendor.hold(prompt, stage)
    async with calling(transport, era, paid.origin, vendor.arguments(prompt)):
        await hold.arrived()
    hold.release()


async def vanished_from_pipe(era: Era, place: Place, vendor: StalledProvider, prompts: Mapping[Stage, str]) -> None:
    """A host that is killed while it waits for a call of every stage: the server ends by itself, silently."""
    holds, log = [vendor.hold(prompt, stage) for stage, prompt in prompts.items()], place.data_dir.parent / f"{era}.log"
    async with piped(place, log, **vendor.variables) as pipe:
        if era == "legacy":
            await pipe.request("initialize", HANDSHAKE)
            await pipe.send(INITIALIZED)
        for number, prompt in enumerate(prompts.values(), 10):
            params: dict[str, JsonValue] = {"name": "controlnet_generate", "arguments": vendor.arguments(prompt)}
            await pipe.send(request(era, number, "tools/call", params))
        for hold in holds:
            await hold.arrived()
        assert pipe.process.stdin is not None
        await pipe.process.stdin.aclose()
        await pipe.lines.aclose()
        for hold in holds:
            hold.release()
        assert await pipe.process.wait() == 0
    assert log.read_text(encoding="utf-8") == ""


async def holds_what_was_bought(client: Client, vendor: StalledProvider, prompt: str) -> None:
    """The same call is given the job that there is, with its picture, and nothing was bought a second time."""
    reply = Reply(await client.call_tool("controlnet_generate", vendor.arguments(prompt)))
    assert reply.job.status == "succeeded", reply.job
    assert reply.job.images, reply.job
    assert vendor.charges(prompt) == 1, prompt
    listed = Reply(await client.call_tool("list_jobs", {"limit": 100})).listed
    assert [row.job_id for row in listed if row.prompt == prompt] == [reply.job.job_id]


@pytest.mark.parametrize("way", ["cancel", "vanish"])
@pytest.mark.parametrize(("transport", "era"), CONNECTIONS)
async def test_a_call_that_is_given_up_loses_nothing_and_doubles_nothing(
    transport: Transport, era: Era, way: Way, paid: Web, vendor: StalledProvider, tmp_path: Path
) -> None:
    """All stages at the same time, each a job of its own."""
    prompts: dict[Stage, str] = {stage: f"{transport}-{era}-{way}-{stage}" for stage in STAGES}
    with anyio.fail_after(SECONDS):
        if (transport, way) == ("stdio", "vanish"):
            await vanished_from_pipe(era, paid.place, vendor, prompts)
        async with connected(transport, era, paid, tmp_path / "stderr") as client:
            async with anyio.create_task_group() as tasks:
                for stage, prompt in prompts.items():
                    if way == "cancel":
                        tasks.start_soon(cancelled, client, vendor, prompt, stage)
                    elif transport != "stdio":
                        tasks.start_soon(vanished, transport, era, paid, vendor, prompt, stage)
            async with anyio.create_task_group() as tasks:
                for prompt in prompts.values():
                    tasks.start_soon(holds_what_was_bought, client, vendor, prompt)
