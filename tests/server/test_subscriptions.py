"""Subscriptions to jobs inside one server: what they leave behind, whose jobs they may follow, and how they end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue

from controlnet_mcp.server.app import Application, open_application
from controlnet_mcp.server.mcp.protocol import build_server
from controlnet_mcp.server.mcp.subscriptions import MOST_JOBS, JobUpdates
from controlnet_mcp.server.settings import Settings
from tests.support.mcp_session import SIDE, WAIT_SECONDS, Reply, connect
from tests.support.notification_collector import NotificationCollector, listening
from tests.support.server_process import Era

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
ERAS: tuple[Era, ...] = ("auto", "legacy")


@dataclass(frozen=True, slots=True)
class House:
    """A server in memory."""

    settings: Settings
    application: Application
    updates: JobUpdates

    @asynccontextmanager
    async def client(self, era: Era, collector: NotificationCollector) -> AsyncGenerator[Client]:
        """A client that hears."""
        server = build_server(self.application, local=True, updates=self.updates)
        async with connect(server, era, hear=collector if era == "legacy" else None) as client:
            yield client

    async def started(self, client: Client) -> str:
        """Start a job that waits in line until it is stopped; gives its URI."""
        arguments: dict[str, JsonValue] = {
            "prompt": "an oil painting",
            "control_image": str(self.settings.allowed_folders[0] / "photo.png"),
            "width": SIDE,
            "height": SIDE,
            "wait_seconds": 0,
            "provider_options": {"simulate": "queued", "seconds": 60},
        }
        return f"controlnet://jobs/{Reply(await client.call_tool('controlnet_generate', arguments)).job.job_id}"

    async def forgotten(self) -> None:
        """Nothing is followed or watched any more."""
        with anyio.fail_after(WAIT_SECONDS):
            while self.updates.following or self.application.services.jobs.subscriptions.followed:
                await anyio.lowlevel.checkpoint()


async def stopped(client: Client, uri: str) -> None:
    """Stop a job."""
    reply = Reply(await client.call_tool("cancel_job", {"job_id": uri.rpartition("/")[2]}))
    assert reply.job.status == "canceled"


@pytest.fixture
async def house(settings: Settings) -> AsyncGenerator[House]:
    """A running server."""
    with anyio.fail_after(120):
        async with open_application(settings) as application:
            yield House(settings, application, JobUpdates(application.services.jobs, application.tasks))


@pytest.mark.parametrize("era", ERAS)
async def test_unsubscribing_leaves_nothing_behind(house: House, era: Era) -> None:
    """One watch while somebody cares, none afterwards, although the job goes on."""
    collector = NotificationCollector()
    async with house.client(era, collector) as client:
        uri = await house.started(client)
        async with listening(client, era, collector, uri):
            assert house.updates.following == 1
            await collector.more_than(0)
        await house.forgotten()


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_disconnects_leaves_nothing_behind(house: House, era: Era) -> None:
    """It had followed two jobs, and said no word when it went."""
    collector = NotificationCollector()
    with anyio.CancelScope() as gone:
        async with house.client(era, collector) as client:
            uris = [await house.started(client), await house.started(client)]
            async with listening(client, era, collector, *uris):
                await collector.more_than(0)
                assert house.updates.following == 2
                gone.cancel()
                await anyio.lowlevel.checkpoint()
    assert gone.cancelled_caught
    await house.forgotten()


@pytest.mark.parametrize("era", ERAS)
async def test_the_end_is_the_last_that_is_heard(house: House, era: Era) -> None:
    """A job that has ended is followed no longer, although its subscription stays."""
    collector = NotificationCollector()
    async with house.client(era, collector) as client:
        uri = await house.started(client)
        async with listening(client, era, collector, uri):
            heard = len(collector.heard)
            await stopped(client, uri)
            await house.forgotten()
            await collector.more_than(heard)


async def test_subscribing_twice_is_subscribing_once(house: House) -> None:
    """Clients of the earlier revisions do that after a reconnect."""
    collector = NotificationCollector()
    async with house.client("legacy", collector) as client:
        uri = await house.started(client)
        async with listening(client, "legacy", collector, uri, uri):
            await anyio.wait_all_tasks_blocked()
            assert house.updates.following == 1
        await house.forgotten()


@pytest.mark.parametrize("era", ERAS)
async def test_jobs_of_others_cannot_be_followed(house: House, era: Era) -> None:
    """They are as unknown as those that never were: the same words but for the id."""
    collector, service = NotificationCollector(), house.application.services.jobs
    async with house.client(era, collector) as client:
        mine = (await house.started(client)).rpartition("/")[2]
        (job,) = (await service.store.page("local", status=None, provider=None, limit=9, cursor=None)).jobs
        theirs, never = "job_" + "1" * 32, "job_" + "2" * 32
        other = job.model_copy(update={"job_id": theirs, "principal": "somebody else"})
        await service.store.add(other, request_key=None, fingerprint="theirs")
        said: list[str] = []
        for job_id in (theirs, never):
            with pytest.raises(MCPError) as caught:
                async with listening(
                    client, era, collector, f"controlnet://jobs/{mine}", f"controlnet://jobs/{job_id}"
                ):
                    raise AssertionError(job_id)
            said.append(caught.value.error.message.replace(job_id, "…"))
        assert said[0] == said[1]


async def test_there_is_room_for_so_many(house: House) -> None:
    """Too many jobs for one stream are refused; another stream is not."""
    collector = NotificationCollector()
    async with house.client("auto", collector) as client:
        uri = await house.started(client)
        with pytest.raises(MCPError) as caught:
            async with client.listen(resource_subscriptions=[f"{uri}{number}" for number in range(MOST_JOBS + 1)]):
                raise AssertionError
        assert str(MOST_JOBS) in caught.value.error.message
        async with listening(client, "auto", collector, uri):
            await collector.more_than(0)


async def test_a_server_that_ends_says_so_to_its_listeners(house: House) -> None:
    """The stream ends as the protocol wants it, not as a lost one."""
    async with house.client("auto", NotificationCollector()) as client:
        uri = await house.started(client)
        async with client.listen(resource_subscriptions=[uri]) as stream:
            house.updates.close()
            with anyio.fail_after(WAIT_SECONDS):
                async for _ in stream:
                    pass
        await house.forgotten()


@pytest.mark.parametrize("era", ERAS)
async def test_a_job_that_another_process_drives_is_heard_of(house: House, era: Era) -> None:
    """Two hosts on one machine each start a server on the same data folder."""
    collector = NotificationCollector()
    async with open_application(house.settings) as theirs, house.client(era, collector) as client:
        other = House(house.settings, theirs, JobUpdates(theirs.services.jobs, theirs.tasks))
        async with other.client("auto", NotificationCollector()) as driving:
            uri = await other.started(driving)
            async with listening(client, era, collector, uri):
                await collector.more_than(0)
                heard = len(collector.heard)
                await stopped(driving, uri)
                await collector.more_than(heard)
                await house.forgotten()
    assert {told for told, _ in collector.heard} == {uri}
