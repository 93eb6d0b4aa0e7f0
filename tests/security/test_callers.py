"""Attacks of one caller on the jobs of another: cancelling, following, repeating and looking at what is not theirs."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from mcp.client.client import Client
from mcp.server.context import ServerRequestContext
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from starlette.requests import Request

from controlnet_mcp.jobs.request import CONTROL
from controlnet_mcp.jobs.resource_uris import job_uri, sheet_uri, source_uri
from controlnet_mcp.server.mcp.delivery import SCOPE_KEY, AnswerDelivery, Deliveries
from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import ALICE, BOB, Gate, open_gate, unnamed, write_tokens
from tests.support.mcp_session import WAIT_SECONDS, settings_for
from tests.support.notification_collector import NotificationCollector, listening
from tests.support.server_process import Era

pytestmark = pytest.mark.anyio
NONE = "job_" + "0" * 32


@pytest.fixture
def guarded(tmp_path: Path, pictures: Path) -> Settings:
    """Settings of a server that lets Alice and Bob in."""
    return settings_for(tmp_path / "data", pictures, tokens_file=write_tokens(tmp_path / "tokens"))


@pytest.fixture
async def gate(guarded: Settings) -> AsyncGenerator[Gate]:
    """That server."""
    async with open_gate(guarded) as opened:
        yield opened


async def any_picture(gate: Gate) -> str:
    """A reference to a picture that Alice had drawn."""
    async with gate.client(ALICE) as alice:
        return f"controlnet://jobs/{(await alice.generate()).job.job_id}/images/0"


def asking(state: dict[str, Any], principal: str, method: str) -> ServerRequestContext[dict[str, Any], Any]:
    """What is known of request 2 of a caller, or of the cancel of one, when it comes over Streamable HTTP."""
    scope: dict[str, Any] = {"type": "http", "headers": []}
    scope[SCOPE_KEY] = AnswerDelivery(principal)
    session = cast("ServerSession", None)  # nothing is asked of it
    return ServerRequestContext(
        session=session,
        lifespan_context=state,
        protocol_version="2026-07-28",
        method=method,
        params={"requestId": 2},
        request_id=2,
        request=Request(scope),
    )


async def nothing_else(_context: ServerRequestContext[Any, Any]) -> None:
    """The rest of the server, which has nothing to do with a cancel that comes late."""


async def test_a_cancel_says_nothing_of_the_answers_of_others(gate: Gate) -> None:
    """Without sessions it names but a number that all clients use; else Alice would be given the same job again.

    The SDK drops such cancels today, and lets nobody into the session of another; this holds without it.
    """
    job_id = (await any_picture(gate)).split("/")[3]
    service, state = gate.application.services.jobs, dict[str, Any]()
    deliveries = Deliveries(service)
    for canceller, arrived in (("token:bob", True), ("token:alice", False)):
        await deliveries.mark_delivered(asking(state, "token:alice", "tools/call"), job_id)
        await deliveries.handle_late_cancel(asking(state, canceller, "notifications/cancelled"), nothing_else)
        assert (await service.store.get(job_id, "token:alice")).delivered == arrived


async def refused(client: Client, era: Era, job_id: str) -> str:
    """What a client is told that wants to follow a job in vain, without the id."""
    with pytest.raises(MCPError) as caught:
        async with listening(client, era, NotificationCollector(), f"controlnet://jobs/{job_id}"):
            raise AssertionError(job_id)
    return caught.value.error.message.replace(job_id, "X")


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_jobs_of_others_cannot_be_followed(gate: Gate, era: Era) -> None:
    """A subscription is asked for with a token, and opens what is that bearer's; the rest never was."""
    job_id = (await any_picture(gate)).split("/")[3]
    async with gate.client(BOB, era) as bob:
        with anyio.fail_after(WAIT_SECONDS):
            assert await refused(bob.client, era, job_id) == await refused(bob.client, era, NONE)
    async with (
        gate.client(ALICE, "legacy") as alice,
        listening(alice.client, "legacy", NotificationCollector(), job_uri(job_id)),
    ):
        pass


async def test_what_was_handed_in_by_others_does_not_exist(gate: Gate, guarded: Settings) -> None:
    """Nor does its sheet; neither can be looked at, drawn upon or repeated, also once the server knows the pictures."""
    async with gate.client(ALICE) as alice, gate.client(BOB) as bob:
        job_id = (await alice.generate()).job.job_id
        source, sheet = source_uri(job_id, CONTROL), sheet_uri(job_id)
        for uri in (source, sheet):
            assert (await alice.client.read_resource(uri)).contents
            with pytest.raises(MCPError, match=r"no (such )?job"):
                await bob.client.read_resource(uri)
        assert (await alice.generate(control_image=source)).job.status == "succeeded"
        assert (await bob.generate(control_image=source)).error.code == "not_found"
        assert (await bob.call("controlnet_generate", like_job=job_id)).error.code == "not_found"
        again = await alice.call("controlnet_generate", like_job=job_id, wait_seconds=WAIT_SECONDS)
        assert again.job.status == "succeeded", "its sources open for whom they belong to"
    async with open_gate(guarded, unnamed) as careless, careless.client(ALICE) as alice, careless.client(BOB) as bob:
        source = source_uri((await alice.generate()).job.job_id, CONTROL)
        assert (await bob.generate(control_image=source)).job.status == "succeeded", "without the control it works"
