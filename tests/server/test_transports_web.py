"""What only a server with a port has: signed links, a health page, guards against foreign pages, and its end."""

import signal
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from anyio import fail_after, to_thread
from mcp.client.client import Client
from mcp.client.sse import sse_client

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.server.auth.access import check_host
from controlnet_mcp.server.auth.file_links import LIFETIME_SECONDS, FileLinks, load_secret
from tests.server.test_transports import photo
from tests.support.mcp_session import Reply
from tests.support.server_process import Place, Web, serving_http

pytestmark = pytest.mark.anyio


@pytest.fixture
async def browser() -> AsyncGenerator[httpx2.AsyncClient]:
    """Something that fetches pages and follows nothing."""
    async with httpx2.AsyncClient(timeout=10) as client:
        yield client


@pytest.fixture
async def link(web: Web) -> str:
    """A signed link to a picture of the running server."""
    async with Client(f"{web.origin}/mcp") as client:
        reply = Reply(await client.call_tool("extract_control_map", {"image": photo(web)}))
    (url,) = reply.originals
    return url


async def test_a_link_opens_one_picture(browser: httpx2.AsyncClient, link: str) -> None:
    """With its type, and without inviting anybody to guess another one."""
    answer = await browser.get(link)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "private" in answer.headers["cache-control"]
    assert answer.content.startswith(b"\x89PNG")


async def test_a_changed_link_opens_nothing(browser: httpx2.AsyncClient, link: str) -> None:
    """Whatever is changed in it: the name, the time, the signature."""
    path, _, query = link.partition("?")
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    folder, _, name = path.rpartition("/")
    other_name = f"{folder}/{'1' if name.startswith('0') else '0'}{name[1:]}"
    later = fields | {"expires": str(int(fields["expires"]) + 1)}
    forged = fields | {"signature": "0" * len(fields["signature"])}
    for url, parameters in (
        (other_name, fields),
        (path.replace(".png", ".jpg"), fields),
        (path.replace(".png", ""), fields),
        (path, later),
        (path, forged),
        (path, fields | {"signature": "\u00e9"}),
        (path, fields | {"expires": "\u00b2"}),
        (path, fields | {"expires": "9" * 5000}),
        (path, fields | {"expires": "-1"}),
        (path, {}),
        (f"{folder}/..%2Fjobs.sqlite3", fields),
        (f"{folder}/%00", fields),
    ):
        answer = await browser.get(url, params=parameters)
        assert answer.status_code == 404, (url, parameters)
        assert "Traceback" not in answer.text


async def test_a_link_expires(browser: httpx2.AsyncClient, link: str, web: Web) -> None:
    """A link with a good signature of yesterday opens nothing any more."""
    secret = await to_thread.run_sync(load_secret, web.place.data_dir)
    sha256 = urlsplit(link).path.rpartition("/")[2].removesuffix(".png")
    picture = StoredPicture(sha256=sha256, mime_type="image/png", width=1, height=1, size_bytes=1)
    expires = int(parse_qs(urlsplit(link).query)["expires"][0])
    same = FileLinks(web.origin, secret, lambda: expires - LIFETIME_SECONDS).url_of(picture)
    assert (await browser.get(same)).status_code == 200
    old = FileLinks(web.origin, secret, lambda: expires - 2 * LIFETIME_SECONDS - 60).url_of(picture)
    assert (await browser.get(old)).status_code == 404


async def test_a_good_link_to_a_picture_that_is_gone_opens_nothing(browser: httpx2.AsyncClient, web: Web) -> None:
    """The signature is good, the picture is not there."""
    secret = await to_thread.run_sync(load_secret, web.place.data_dir)
    async with Client(f"{web.origin}/mcp") as client:
        await client.list_tools()
    gone = StoredPicture(sha256="0" * 64, mime_type="image/png", width=1, height=1, size_bytes=1)
    answer = await browser.get(FileLinks(web.origin, secret, lambda: 4e9).url_of(gone))
    assert answer.status_code == 404
    assert str(web.place.data_dir) not in answer.text


async def test_the_health_page_says_that_it_is_up(browser: httpx2.AsyncClient, web: Web) -> None:
    """For whatever watches the process."""
    answer = await browser.get(f"{web.origin}/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/sse"), ("POST", "/messages/")]
)
async def test_pages_of_others_cannot_use_the_server(
    browser: httpx2.AsyncClient, web: Web, method: str, path: str
) -> None:
    """A web page that resolves its own name to this machine, or that posts from elsewhere, is refused."""
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    for name, value, status in (("host", "evil.example", 421), ("origin", "https://evil.example", 403)):
        url = f"{web.origin}{path}{'?session_id=00000000000000000000000000000000' if 'messages' in path else ''}"
        answer = await browser.request(method, url, headers=headers | {name: value}, json=ping)
        assert answer.status_code == status, answer.text


async def test_pages_of_this_machine_can(browser: httpx2.AsyncClient, web: Web) -> None:
    """A tool that runs in a local web page, as the protocol's inspector does."""
    headers = {"accept": "application/json, text/event-stream", "origin": "http://localhost:6274"}
    handshake = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": handshake}
    assert (await browser.post(f"{web.origin}/mcp", headers=headers, json=body)).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])  # noqa: S104  # what is refused
def test_the_server_listens_on_this_machine_only(host: str) -> None:
    """Without authentication anybody who reaches it could spend the operator's credits."""
    with pytest.raises(RequestError) as caught:
        check_host(host, authenticates=False)
    assert caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_the_server_listens_on_every_name_of_this_machine(host: str) -> None:
    """Under whatever name."""
    check_host(host, authenticates=False)


async def test_a_signal_ends_the_server_in_good_order(tmp_path: Path, pictures: Path) -> None:
    """With connections open and a caller waiting: no traceback, no failure code, and the job goes on next time."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    place = Place(tmp_path / "data", pictures)
    with serving_http(place, port) as server:
        async with Client(sse_client(f"{server.origin}/sse")) as client, Client(f"{server.origin}/mcp") as other:
            options = {"simulate": "queued", "seconds": 60}
            arguments = {"prompt": "x", "control_image": photo(server), "provider_options": options, "wait_seconds": 0}
            job = Reply(await other.call_tool("controlnet_generate", arguments)).job
            assert job.status == "queued"
            assert Reply(await client.call_tool("list_jobs", {})).listed
            server.process.send_signal(signal.SIGTERM)
            with fail_after(120):
                await to_thread.run_sync(server.process.wait)
    assert server.process.returncode == 0
    assert "Traceback" not in "".join(server.log), "".join(server.log)
    database = Database(place.data_dir / "jobs.sqlite3")
    assert await JobStore(database).claim(job.job_id, "the next process") is not None, "it was given back"
    await to_thread.run_sync(database.close)
