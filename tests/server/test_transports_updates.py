"""Changes of jobs are told over every transport, to listeners of the current protocol and to subscribers before it."""

from collections.abc import AsyncGenerator
from typing import TypeAlias

import mcp_types as types
import pytest
from anyio import fail_after
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from controlnet_mcp.tools.views import Job
from tests.server.test_transports import CONNECTIONS, photo
from tests.support.mcp_session import SIDE, WAIT_SECONDS, Reply
from tests.support.notification_collector import NotificationCollector, listening
from tests.support.server_process import Era, Web, connected

pytestmark = pytest.mark.anyio
Connection: TypeAlias = tuple[Client, Era, NotificationCollector]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the module, so that its tests can share connections."""
    return "asyncio"


@pytest.fixture(scope="module", params=CONNECTIONS)
async def connection(
    request: pytest.FixtureRequest, web: Web, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Connection]:
    """A client that hears, on every transport, in every era."""
    transport, era = request.param
    log, collector = tmp_path_factory.mktemp("log") / "stderr", NotificationCollector()
    async with connected(transport, era, web, log, collector if era == "legacy" else None) as client:
        yield client, era, collector
    assert not log.exists() or log.read_text(encoding="utf-8") == ""


async def started(client: Client, web: Web) -> tuple[str, str]:
    """A job that makes progress until it is stopped: its id, and its URI."""
    arguments = {
        "prompt": "an oil painting",
        "control_image": photo(web),
        "width": SIDE,
        "height": SIDE,
        "wait_seconds": 0,
        "provider_options": {"simulate": "progress", "seconds": 60},
    }
    job_id = Reply(await client.call_tool("controlnet_generate", arguments)).job.job_id
    return job_id, f"controlnet://jobs/{job_id}"


async def status(client: Client, uri: str) -> str:
    """What the resource tells."""
    (contents,) = (await client.read_resource(uri, cache_mode="bypass")).contents
    assert isinstance(contents, types.TextResourceContents)
    return Job.model_validate_json(contents.text).status


async def test_a_job_s_changes_are_heard_to_its_end(connection: Connection, web: Web) -> None:
    """At most two a second, and after the last one the resource tells that the job has ended."""
    client, era, collector = connection
    collector.heard.clear()
    with fail_after(WAIT_SECONDS):
        job_id, uri = await started(client, web)
        async with listening(client, era, collector, uri):
            await collector.more_than(0)
            await client.call_tool("cancel_job", {"job_id": job_id})
            while await status(client, uri) != "canceled":
                await collector.more_than(len(collector.heard))
            await collector.more_than(1)
    moments = [moment for heard, moment in collector.heard if heard == uri]
    assert 2 <= len(moments) <= 2 * (moments[-1] - moments[0]) + 2


async def test_nothing_is_heard_of_what_one_no_longer_listens_to(connection: Connection, web: Web) -> None:
    """Whoever unsubscribes, or closes the stream, is left in peace; other jobs go on."""
    client, era, collector = connection
    with fail_after(WAIT_SECONDS):
        (job, uri), (other, kept) = await started(client, web), await started(client, web)
        async with listening(client, era, collector, kept):
            async with listening(client, era, collector, uri):
                pass
            collector.heard.clear()
            for job_id in (job, other):
                await client.call_tool("cancel_job", {"job_id": job_id})
            await collector.more_than(0)
            assert await status(client, uri) == "canceled"
    assert {heard for heard, _ in collector.heard} == {kept}


async def test_only_jobs_that_exist_can_be_followed(connection: Connection) -> None:
    """An unknown job, and what is no job, are the same error as when they are read."""
    client, era, collector = connection
    for uri in ("controlnet://jobs/job_00000000000000000000000000000000", "controlnet://modalities", "file:///etc"):
        with pytest.raises(MCPError) as caught:
            async with listening(client, era, collector, uri):
                raise AssertionError(uri)
        assert caught.value.error.code == types.INVALID_PARAMS
        assert "There is no job" in caught.value.error.message


async def test_what_can_be_subscribed_to_is_told(connection: Connection) -> None:
    """Resources, yes; and no list of this server ever changes."""
    client, _, _ = connection
    capabilities = client.server_capabilities
    assert capabilities is not None
    assert capabilities.resources is not None
    assert capabilities.resources.subscribe is True
    for capability in (capabilities.resources, capabilities.tools, capabilities.prompts):
        assert capability is not None
        assert not capability.list_changed
