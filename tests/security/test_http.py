"""Attacks over HTTP: forged names and pages, missing, foreign and expired tokens, and what belongs to others.

Each control is also taken away, to show that the attack works without it.
"""

import dataclasses
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import httpx2
import mcp_types as types
import pytest
from mcp.client.client import Client
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.server.auth.access import Access, check_host
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools.extract_control_map import MapView
from tests.support.asgi_client import ACCEPT, ALICE, BOB, INITIALIZE, Gate, open_gate, unnamed, write_tokens
from tests.support.mcp_session import settings_for

pytestmark = pytest.mark.anyio
ENDPOINTS = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages/")]


@pytest.fixture
def guarded(tmp_path: Path, pictures: Path) -> Settings:
    """Settings of a server that lets Alice and Bob in."""
    return settings_for(tmp_path / "data", pictures, tokens_file=write_tokens(tmp_path / "tokens"))


@pytest.fixture
async def gate(guarded: Settings) -> AsyncGenerator[Gate]:
    """That server."""
    async with open_gate(guarded) as opened:
        yield opened


def unlocked(access: Access) -> Access:
    """The gate without its lock."""
    return dataclasses.replace(access, verifier=None)


def credulous(access: Access) -> Access:
    """The gate without its look at names and pages."""
    return dataclasses.replace(access, security=TransportSecuritySettings(enable_dns_rebinding_protection=False))


async def opening(gate: Gate, token: str | None, **headers: str) -> httpx2.Response:
    """The answer to the first message of a client."""
    async with gate.browser(token) as browser:
        return await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT | headers)


async def test_nobody_gets_in_without_a_token(gate: Gate) -> None:
    """Every endpoint of the protocol says 401, and how to do better."""
    guesses = ["", "guess", ALICE[:-1], f"{ALICE}x", "alice", "Ünïcode" * 6, "\x00" * 30]
    fields = [("authorization", f"Bearer {guess}".encode()) for guess in guesses]
    fields += [("x-nothing", b""), ("authorization", f"Basic {ALICE}".encode()), ("authorization", ALICE.encode())]
    async with gate.browser() as browser:
        for method, path in ENDPOINTS:
            for name, value in fields:
                headers = [(name.encode(), value), *((key.encode(), row.encode()) for key, row in ACCEPT.items())]
                answer = await browser.request(method, path, json=INITIALIZE, headers=headers)
                assert answer.status_code == 401, (method, path, value)
                assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_without_the_lock_anybody_gets_in(guarded: Settings) -> None:
    """What the lock is for."""
    async with open_gate(guarded, unlocked) as gate:
        assert (await opening(gate, None)).status_code == 200


@pytest.mark.parametrize(("field", "value", "status"), [("host", "evil.example", 421), ("origin", "http://evil", 403)])
async def test_a_forged_name_or_page_is_refused_with_a_good_token_too(
    gate: Gate, field: str, value: str, status: int, guarded: Settings
) -> None:
    """A browser that was lured to this address cannot use the server, not even for whoever is logged in."""
    assert (await opening(gate, ALICE, **{field: value})).status_code == status
    async with open_gate(guarded, credulous) as careless:
        assert (await opening(careless, ALICE, **{field: value})).status_code == 200, "without the control it works"


async def test_the_operator_names_who_may_call_and_from_which_pages(guarded: Settings) -> None:
    """The public URL is allowed by itself, further names by setting."""
    more = {
        "public_url": "https://pictures.example",
        "allowed_hosts": ("inside:*",),
        "allowed_origins": ("https://ui",),
    }
    async with open_gate(guarded.model_copy(update=more)) as gate:
        for headers in ({"host": "pictures.example"}, {"host": "inside:8000"}, {"origin": "https://ui"}):
            assert (await opening(gate, ALICE, **headers)).status_code == 200, headers
        for headers in ({"host": "pictures.example.evil"}, {"host": "inside.evil"}, {"origin": "https://ui.evil"}):
            assert (await opening(gate, ALICE, **headers)).status_code in {421, 403}, headers


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "example.org"])  # noqa: S104  # what is refused
def test_listening_to_others_needs_a_lock(host: str) -> None:
    """With one it is allowed."""
    with pytest.raises(RequestError, match="Refusing to listen") as caught:
        check_host(host, authenticates=False)
    assert "TOKENS_FILE" in caught.value.hint
    check_host(host, authenticates=True)


async def test_what_belongs_to_others_does_not_exist(gate: Gate) -> None:
    """A job, its pictures and a map are for whoever made them; a foreign one is told as one that never was."""
    async with gate.client(ALICE) as alice, gate.client(BOB) as bob:
        job = (await alice.generate()).job
        made = await alice.call("extract_control_map", image=f"controlnet://jobs/{job.job_id}/images/0")
        map_uri = MapView.model_validate_json(made.text).uri
        assert (await bob.call("list_jobs")).listed == ()
        none = "job_" + "0" * 32
        for foreign, unknown in (
            (f"controlnet://jobs/{job.job_id}", f"controlnet://jobs/{none}"),
            (f"controlnet://jobs/{job.job_id}/images/0", f"controlnet://jobs/{none}/images/0"),
            (f"controlnet://jobs/{job.job_id}/control-map", f"controlnet://jobs/{none}/control-map"),
            (map_uri, f"controlnet://maps/{'0' * 64}"),
        ):
            assert (await alice.client.read_resource(foreign)).contents
            told = [await refusal_of(bob.client.read_resource(uri), uri) for uri in (foreign, unknown)]
            assert told[0] == told[1]
            for argument in ("control_image", "init_image"):
                used = [await bob.generate(**{argument: uri}) for uri in (foreign, unknown)]
                assert blank(used[0].text, foreign) == blank(used[1].text, unknown)
                assert used[0].error.code == "not_found"
        for tool in ("job_status", "cancel_job"):
            answers = [await bob.call(tool, job_id=job_id) for job_id in (job.job_id, none)]
            assert answers[0].text.replace(job.job_id, "X") == answers[1].text.replace(none, "X")
            assert answers[0].error.code == "not_found"
        assert await job_ids(alice.client) == [job.job_id]
        assert await job_ids(bob.client) == []


async def job_ids(client: Client) -> list[str]:
    """The ids that a client is offered while it types."""
    template = types.ResourceTemplateReference(uri="controlnet://jobs/{job_id}")
    return (await client.complete(template, {"name": "job_id", "value": "job_"})).completion.values


def blank(text: str, uri: str) -> str:
    """Words without the URI that they are about."""
    return text.replace(uri, "X").replace(uri.split("/")[3], "Y")


async def refusal_of(reading: Awaitable[object], uri: str) -> tuple[int, str]:
    """The code and words of a refusal, the URI left out."""
    with pytest.raises(MCPError) as caught:
        await reading
    return caught.value.error.code, blank(caught.value.error.message, uri)


async def test_without_names_callers_see_each_others_jobs(guarded: Settings) -> None:
    """What telling callers apart is for."""
    async with open_gate(guarded, unnamed) as gate, gate.client(ALICE) as alice, gate.client(BOB) as bob:
        job = (await alice.generate()).job
        assert [row.job_id for row in (await bob.call("list_jobs")).listed] == [job.job_id]


ResultT = TypeVar("ResultT")


class Noted(Database):
    """A record that notes the statements by which it is read, with their values."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        super().__init__(path)
        self.asked: list[str] = []

    async def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Note, and read."""

        def noted(db: sqlite3.Connection) -> ResultT:
            db.set_trace_callback(self.asked.append)
            try:
                return work(db)
            finally:
                db.set_trace_callback(None)

        return await super().read(noted)


async def test_looking_for_a_foreign_job_is_the_same_work_as_for_none(gate: Gate) -> None:
    """Statement by statement, so that time tells nothing either."""
    async with gate.client(ALICE) as alice:
        job_id = (await alice.generate()).job.job_id
    none = "job_" + "0" * 32
    with closing(Noted(gate.application.settings.data_folder / "jobs.sqlite3")) as database:
        store = JobStore(database)
        assert (await store.get(job_id, "token:alice")).job_id == job_id
        database.asked.clear()
        for asked in (job_id, none):
            with pytest.raises(RequestError):
                await store.get(asked, "token:bob")
    (first, second) = database.asked
    assert job_id in first
    assert "token:bob" in first
    assert second == first.replace(job_id, none)


async def test_a_session_serves_only_whoever_opened_it(gate: Gate) -> None:
    """In the handshake era a session has a name; it is no key."""
    opened = await opening(gate, ALICE)
    session = {"mcp-session-id": opened.headers["mcp-session-id"]}
    ping: JsonValue = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    for token, status in ((BOB, 404), (ALICE, 200)):
        async with gate.browser(token) as browser:
            answer = await browser.post("/mcp", json=ping, headers=ACCEPT | session)
        assert answer.status_code == status


async def test_an_sse_connection_serves_only_whoever_opened_it(gate: Gate) -> None:
    """Messages of somebody else are refused as if there were no such connection."""
    async with gate.sse() as place:
        for token, status in ((BOB, 404), (None, 401), (ALICE, 202)):
            async with gate.browser(token) as browser:
                assert (await browser.post(place, json=INITIALIZE, headers=ACCEPT)).status_code == status


async def test_one_key_of_two_callers_means_two_jobs(guarded: Settings) -> None:
    """Nobody is given, or made to pay for, the job of another."""
    async with open_gate(guarded) as gate, gate.client(ALICE) as alice, gate.client(BOB) as bob:
        mine, again, other = [(await who.generate(request_key="k")).job.job_id for who in (alice, alice, bob)]
        assert mine == again != other
    async with open_gate(guarded, unnamed) as gate, gate.client(ALICE) as alice, gate.client(BOB) as bob:
        one, two = [(await who.generate(request_key="other")).job.job_id for who in (alice, bob)]
        assert one == two, "without the control it works"


async def test_a_caller_who_asks_too_often_is_told_when_to_come_back(guarded: Settings) -> None:
    """Others are served meanwhile."""
    async with open_gate(guarded.model_copy(update={"max_requests_per_minute": 5})) as gate:
        statuses = [(await opening(gate, ALICE)).status_code for _ in range(6)]
        refused = await opening(gate, ALICE)
        assert statuses == [200] * 5 + [429]
        assert 1 <= int(refused.headers["retry-after"]) <= 12
        assert "minute" in refused.json()["error"]
        assert (await opening(gate, BOB)).status_code == 200


async def test_f3_requests_are_counted_over_all_endpoints_together(guarded: Settings) -> None:
    """F3: one count for a caller, whichever endpoint a request goes to; others have their own."""
    async with open_gate(guarded.model_copy(update={"max_requests_per_minute": 4})) as gate:
        async with gate.browser(ALICE) as browser:
            places = [
                ("POST", "/mcp"),
                ("POST", "/messages/"),
                ("DELETE", "/mcp"),
                ("POST", "/messages/x"),
                ("GET", "/mcp"),
            ]
            places += [("GET", "/sse"), ("POST", "/messages/")]
            answers = [await browser.request(method, path, json=INITIALIZE, headers=ACCEPT) for method, path in places]
        assert [row.status_code == 429 for row in answers] == [False] * 4 + [True] * 3
        assert (await opening(gate, BOB)).status_code == 200


async def test_a_request_that_is_too_large_is_refused_before_it_is_read(guarded: Settings) -> None:
    """By what it says of itself, and by what comes."""
    async with open_gate(guarded.model_copy(update={"max_request_bytes": 65536})) as gate:
        for path in ("/mcp", "/messages/"):
            async with gate.browser(ALICE) as browser:
                said = await browser.post(path, content=b" " * 70_000, headers=ACCEPT)
                came = await browser.post(path, content=pieces(), headers=ACCEPT)
            assert (said.status_code, came.status_code) == (413, 413)
            assert "too large" in said.text


async def pieces() -> AsyncGenerator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(8):
        yield b" " * 10_000


async def test_files_and_health_need_no_token(gate: Gate) -> None:
    """A link is signed, and whoever watches the process has no account."""
    async with gate.client(ALICE) as alice, gate.browser() as browser:
        (url,) = (await alice.generate()).originals
        assert (await browser.get("/health")).status_code == 200
        assert (await browser.get(url)).status_code == 200
        assert (await browser.get(url.replace("signature=", "signature=0"))).status_code == 404
