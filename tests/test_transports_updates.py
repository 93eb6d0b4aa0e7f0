"""Changes of jobs are told over every transport, to listeners of the current protocol and to subscribers before it."""

from collections.abc import AsyncGenerator
from typing import TypeAlias

import mcp_types as types
import pytest
from anyio import fail_after
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from controlnet_mcp.tools.views import Job
from tests.hearing import Ears, listening
from tests.processes import Era, Web, connected
from tests.serving import SIDE, WAIT_SECONDS, Reply
from tests.test_transports import CONNECTIONS, photo

pytestmark = pytest.mark.anyio
Connection: TypeAlias = tuple[Client, Era, Ears]


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
    log, ears = tmp_path_factory.mktemp("log") / "stderr", Ears()
    async with connected(transport, era, web, log, ears if era == "legacy" else None) as client:
        yield client, era, ears
    assert not log.exists() or log.read_text(encoding="utf-8") == ""


async def started(client: Client, web: Web, seconds: float) -> Job:
    """A job that makes progress for a while."""
    arguments = {
        "prompt": "an oil painting",
        "control_image": photo(web),
        "width": SIDE,
        "height": SIDE,
        "wait_seconds": 0,
        "provider_options": {"simulate": "progress", "seconds": seconds},
    }
    return Reply(await client.call_tool("controlnet_generate", arguments)).job


async def test_a_job_s_changes_are_heard_to_its_end(connection: Connection, web: Web) -> None:
    """At most two a second, and after the last one the resource tells that the job is done."""
    client, era, ears = connection
    job = await started(client, web, 1.2)
    uri, seen = f"controlnet://jobs/{job.job_id}", len(ears.heard)
    with fail_after(WAIT_SECONDS):
        async with listening(client, era, ears, uri):
            while job.status not in {"succeeded", "failed"}:
                await ears.more_than(seen)
                seen = len(ears.heard)
                contents = (await client.read_resource(uri, cache_mode="bypass")).contents[0]
                assert isinstance(contents, types.TextResourceContents)
                job = Job.model_validate_json(contents.text)
    assert job.status == "succeeded", job
    moments = [moment for heard, moment in ears.heard if heard == uri]
    assert 2 <= len(moments) <= 2 * (moments[-1] - moments[0]) + 2


async def test_nothing_is_heard_of_what_one_no_longer_listens_to(connection: Connection, web: Web) -> None:
    """Whoever unsubscribes, or closes the stream, is left in peace; other jobs go on."""
    client, era, ears = connection
    job, other = await started(client, web, 0.8), await started(client, web, 0.8)
    uri, kept = (f"controlnet://jobs/{row.job_id}" for row in (job, other))
    with fail_after(WAIT_SECONDS):
        async with listening(client, era, ears, kept):
            async with listening(client, era, ears, uri):
                pass
            ears.heard.clear()
            await ears.until(lambda: bool(ears.heard))
            for row in (job, other):
                await client.call_tool("job_status", {"job_id": row.job_id, "wait_seconds": WAIT_SECONDS})
    assert {heard for heard, _ in ears.heard} == {kept}


async def test_only_jobs_that_exist_can_be_followed(connection: Connection) -> None:
    """An unknown job, and what is no job, are the same error as when they are read."""
    client, era, ears = connection
    for uri in ("controlnet://jobs/job_00000000000000000000000000000000", "controlnet://modalities", "file:///etc"):
        with pytest.raises(MCPError) as caught:
            async with listening(client, era, ears, uri):
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
