"""A vendor that repeats our key in its answer: the key goes no further than the socket."""

import json
from pathlib import Path

import httpx2
import pytest
from pydantic import JsonValue

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import build_table, is_secret, provider_variables
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import RemoteTask
from controlnet_mcp.providers.zhiqite.adapter import ZhiqiteProvider, ZhiqiteSettings
from tests.contract.provider_contract import BARE
from tests.support.hosted_providers import HOSTED

pytestmark = pytest.mark.anyio

VARIABLES = {name: f"canary-{name}" for name in provider_variables() if is_secret(name)}


@pytest.mark.parametrize("name", HOSTED)
async def test_an_echoed_key_reaches_nobody(name: str, tmp_path: Path) -> None:
    """Whatever was sent as a header or inside the body comes back in an error, and is cut out of it."""
    provider = next(entry.provider for entry in build_table(VARIABLES) if entry.name == name)
    assert provider is not None
    echoed: list[str] = []

    def echo(sent: httpx2.Request) -> httpx2.Response:
        said = json.dumps({"headers": dict(sent.headers), "body": sent.content.decode("utf-8", "replace")[:500]})
        echoed.append(said)
        return httpx2.Response(401, json={"message": said, "error": said, "code": "401", "msg": said})

    runner = Sender(PictureSource(BlobStore(tmp_path)), _nowhere, {name: httpx2.MockTransport(echo)})
    asked = provider.poll(RemoteTask(remote_id="1"))
    with pytest.raises(ProviderError) as caught:
        await runner.run(provider, asked)
    await runner.aclose()
    assert "canary" in echoed[0] or "Basic" in echoed[0]
    assert "canary" not in str(caught.value)
    assert "canary" not in caught.value.provider_message
    assert not any(part in str(caught.value) for part in _encoded(echoed[0]))


@pytest.mark.parametrize(
    "body",
    [{"code": "500", "msg": "busy", "data": None}, {"code": "200", "msg": "success", "data": None}],
    ids=["a broken service", "a success without a task"],
)
def test_an_answer_of_zhiqite_that_proves_nothing_is_no_refusal(body: JsonValue) -> None:
    """Inside HTTP 200, a code of 5xx or a missing task id may still mean that the task was accepted."""
    provider = ZhiqiteProvider(ZhiqiteSettings.read(VARIABLES))
    with pytest.raises(ProviderError) as caught:
        provider.read(HttpReply("zhiqite", 200, {}, json.dumps(body).encode()))
    assert caught.value.delivery == "unknown"
    assert caught.value.hint


def test_every_hosted_provider_names_its_secrets() -> None:
    """Without them nothing could be cut out; the embedded engine has none."""
    ready = {entry.name: entry.provider for entry in build_table(VARIABLES)}
    assert [name for name, provider in ready.items() if provider is not None and not provider.secrets] == ["draft"]
    assert set(BARE) == set(ready)


def _encoded(said: str) -> list[str]:
    """The encoded pair of a Basic header, if one was sent."""
    _, found, rest = said.partition("Basic ")
    return [rest.split('"')[0].rstrip("\\")] if found else []


async def _nowhere(url: str) -> bytes:
    raise AssertionError(f"nothing may be fetched from {url}")
