"""Calls to providers through the proxies that the environment names."""

from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpCall, HttpReply
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.sender import Sender
from tests.support.attack_targets import giving, victim_of
from tests.support.job_layer import ScriptedProvider
from tests.support.tls_site import proxy_before

pytestmark = pytest.mark.anyio


class Elsewhere(ScriptedProvider):
    """A provider whose name only a proxy can resolve."""

    base_url = "http://provider.example"
    further_urls = ("https://provider.example",)


async def nothing(url: str) -> bytes:
    """Stands in for the download of pictures."""
    raise AssertionError(f"nothing may be fetched from {url}")


async def asked(folder: Path, scheme: str = "http") -> HttpReply:
    """The reply of the provider to one call."""

    def steps() -> Generator[HttpCall, HttpReply, HttpReply]:
        reply = yield HttpCall("GET", f"{scheme}://provider.example/jobs")
        return reply

    sender = Sender(PictureSource(BlobStore(folder)), nothing)
    try:
        with anyio.fail_after(20):
            return await sender.run(Elsewhere("none", cancels=False), steps())
    finally:
        await sender.aclose()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
async def test_d2_a_provider_is_asked_through_a_socks_proxy(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: what Clash and its like tell people to set, for whichever scheme a call has."""
    with victim_of(giving(b"{}")) as service, proxy_before(service.port) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url.replace("http", scheme))
        assert (await asked(tmp_path)).body == b"{}"
    assert proxy.asked == ["provider.example"]
    assert [path for path, _ in service.asked] == ["/jobs"]


async def test_d2_a_proxy_that_opens_no_tunnel_leaves_nothing_uncertain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: a refusal of the proxy (407, 502) is no answer of the provider, which has heard nothing."""
    for status in (407, 502):
        with victim_of(giving(b"", status)) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url())
            with pytest.raises(ProviderError, match="through the proxy") as caught:
                await asked(tmp_path, "https")
        assert (caught.value.delivery, caught.value.retryable) == ("not_sent", True)


@pytest.mark.parametrize("proxy", ["socks://127.0.0.1:9", "ftp://127.0.0.1:9", "http://127.0.0.1:port", "socks4://a:1"])
async def test_d2_a_proxy_that_cannot_be_used_is_said_plainly(
    proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: nothing was sent, trying again does not help, and the variables are named."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ProviderError) as caught:
        await asked(tmp_path)
    error = caught.value
    assert (error.code, error.delivery, error.retryable) == ("not_configured", "not_sent", False)
    assert "HTTPS_PROXY" in error.hint
