"""Requests over HTTP that are no messages: a clear status, at most one line in the log, and never a traceback."""

import base64
import gzip
import json
import logging
import socket
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import httpx2
import mcp_types as types
import pytest
from anyio import fail_after, to_thread
from pydantic import JsonValue

from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import ACCEPT, INITIALIZE, Gate, open_gate
from tests.support.disconnecting_clients import INITIALIZED
from tests.support.server_process import MODERN_META, Place, Web, serving_http

pytestmark = pytest.mark.anyio
MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "controlnet_generate"}
NO_SESSION = "/messages/?session_id=00000000000000000000000000000000"
DEEP = 3000


@pytest.fixture
def sketch(pictures: Path) -> bytes:
    """A drawing."""
    return (pictures / "sketch.png").read_bytes()


@pytest.fixture
async def gate(settings: Settings) -> AsyncGenerator[Gate]:
    """A server that everybody on this machine may use."""
    async with open_gate(settings) as opened:
        yield opened


async def opened(browser: httpx2.AsyncClient) -> dict[str, str]:
    """The header fields of a session of the handshake era."""
    answer = await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT)
    fields = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-06-18"}
    await browser.post("/mcp", json=INITIALIZED, headers=ACCEPT | fields)
    return fields


async def drawn(browser: httpx2.AsyncClient, picture: bytes, era: str, prompt: str) -> httpx2.Response:
    """The answer to a dry run, whose body is ASCII."""
    meta: dict[str, JsonValue] = {"_meta": MODERN_META} if era == "auto" else {}
    content = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    arguments: dict[str, JsonValue] = {"prompt": prompt, "control_image": content, "dry_run": True}
    params: dict[str, JsonValue] = {"name": "controlnet_generate", "arguments": arguments, **meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    fields = MODERN if era == "auto" else await opened(browser)
    return await browser.post("/mcp", content=body.encode(), headers=ACCEPT | fields)


def plan_in(answer: httpx2.Response) -> str:
    """The text of a tool's answer, whether it came as an event or as JSON."""
    (line,) = [row for row in answer.text.splitlines() if row.startswith(("data: ", "{"))]
    result = json.loads(line.removeprefix("data: "))["result"]
    text: str = result["content"][0]["text"]
    return text


def is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Check that at most one line was logged for the operator, and no traceback."""
    assert sum(record.levelno >= logging.WARNING for record in caplog.records) <= 1
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("path", ["/mcp", NO_SESSION])
@pytest.mark.parametrize("fields", [{}, MODERN], ids=["legacy", "auto"])
@pytest.mark.parametrize(
    ("body", "request_id"),
    [
        (b"", None),
        (b"\0", None),
        (b"not json", None),
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"x', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":' + b"[" * DEEP + b"]" * DEEP + b"}", 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}', 7),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 1.5),
        (b'[{"jsonrpc":"2.0","id":7,"method":"ping"},{"jsonrpc":"2.0","id":8,"method":"ping"}]', None),
        (gzip.compress(b'{"jsonrpc":"2.0","id":7,"method":"ping"}'), None),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 1_000_000 + b'","method":"ping"}', None),
        (b'{"jsonrpc":"2.0","id":7,"method":"' + b"x" * 1_000_000 + b'"}', 7),
    ],
    ids=range(11),
)
async def test_a_body_that_is_no_message_is_told(
    gate: Gate, caplog: pytest.LogCaptureFixture, body: bytes, request_id: JsonValue, fields: dict[str, str], path: str
) -> None:
    """C5, H10: a body that is no message has 400 for an answer, with its id where there is one, on both endpoints."""
    async with gate.browser() as browser:
        answer = await browser.post(path, content=body, headers=ACCEPT | fields)
    assert (answer.status_code, answer.json()["id"]) == (400, request_id)
    assert types.ErrorData.model_validate(answer.json()["error"]).message
    assert len(answer.content) < 4000
    is_quiet(caplog)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "GZIP"])
@pytest.mark.parametrize("path", ["/mcp", NO_SESSION])
async def test_a_compressed_body_is_told(
    gate: Gate, caplog: pytest.LogCaptureFixture, encoding: str, path: str
) -> None:
    """H10: a gzip body has 415 for an answer, and a sentence that names Content-Encoding."""
    body = gzip.compress(json.dumps(INITIALIZE).encode())
    async with gate.browser() as browser:
        answer = await browser.post(path, content=body, headers=ACCEPT | {"content-encoding": encoding})
        assert (
            await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT | {"content-encoding": "identity"})
        ).is_success
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.json()["error"]["message"]
    is_quiet(caplog)


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_half_a_character_over_http_is_named(
    gate: Gate, sketch: bytes, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    """H10: a lone surrogate becomes U+FFFD, and the answer names the argument that it was in."""
    async with gate.browser() as browser:
        answer = await drawn(browser, sketch, era, "a cat \ud83d")
    plan = json.loads(plan_in(answer))
    assert "a cat \ufffd" in json.dumps(plan["request"], ensure_ascii=False)
    assert [row["feature"] for row in plan["warnings"] if "did not arrive whole" in row["detail"]] == ["prompt"]
    is_quiet(caplog)


@pytest.mark.parametrize("known", [True, False])
async def test_events_that_are_not_kept_are_not_sent_again(
    gate: Gate, caplog: pytest.LogCaptureFixture, *, known: bool
) -> None:
    """H10: `GET /mcp` with Last-Event-ID is refused with a sentence, whether there is a session or not."""
    async with gate.browser() as browser:
        fields = await opened(browser) if known else {}
        headers = {"accept": "text/event-stream", "last-event-id": "5", **fields}
        answer = await browser.get("/mcp", headers=headers)
    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["error"]["message"]
    is_quiet(caplog)


@pytest.mark.parametrize(("field", "value", "status"), [("host", "evil.example", 421), ("origin", "http://evil", 403)])
async def test_a_foreign_page_is_not_told_what_is_wrong(gate: Gate, field: str, value: str, status: int) -> None:
    """H10: the name and the origin of a request are looked at before its body is spoken about."""
    again = {"accept": "text/event-stream", "last-event-id": "5"}
    async with gate.browser() as browser:
        for method, more in (("POST", {}), ("POST", {"content-encoding": "gzip"}), ("GET", again)):
            answer = await browser.request(method, "/mcp", content=b"{", headers=ACCEPT | more | {field: value})
            assert answer.status_code == status


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_line_ends_in_a_prompt_are_escaped_over_http(gate: Gate, sketch: bytes, era: str) -> None:
    """C6: U+2028, U+2029 and U+0085 do not break an event in two for readers that take them for line ends."""
    async with gate.browser() as browser:
        answer = await drawn(browser, sketch, era, "a\u2028b\u2029c\u0085d")
    assert "a\u2028b\u2029c\u0085d" in plan_in(answer)
    assert not {"\u2028", "\u2029", "\u0085"} & set(answer.text)


@pytest.fixture
def own(tmp_path: Path, pictures: Path) -> Generator[Web]:
    """A server in a process of its own, with a log that nobody else writes to."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with serving_http(Place(tmp_path / "data", pictures), port) as server:
        yield server


async def test_messages_over_sse_are_read_and_answered_likewise(web: Web, sketch: bytes) -> None:
    """C5, C6, H10: over the older HTTP, too, half an emoji is said, line ends are escaped, and nonsense has 400."""
    content = f"data:image/png;base64,{base64.b64encode(sketch).decode()}"
    arguments: dict[str, JsonValue] = {"prompt": "a\u2028b \ud83d", "control_image": content, "dry_run": True}
    params: dict[str, JsonValue] = {"name": "controlnet_generate", "arguments": arguments, "_meta": MODERN_META}
    call: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    with fail_after(30):
        async with (
            httpx2.AsyncClient(base_url=web.origin, timeout=20) as browser,
            browser.stream("GET", "/sse") as events,
        ):
            lines = events.aiter_text()
            told = await anext(lines)
            path = told.partition("data: ")[2].strip()
            for body in (b"{", b"[]", b"\xff"):
                assert (await browser.post(path, content=body, headers=ACCEPT)).status_code == 400
            assert (await browser.post(path, content=json.dumps(call), headers=ACCEPT)).status_code == 202
            told = ""
            while not told.endswith("\n\r\n"):
                told += await anext(lines)
    assert not {"\u2028", "\u2029", "\u0085"} & set(told)
    answer = json.loads(told.partition("data: ")[2])
    assert "a\u2028b \ufffd" in answer["result"]["content"][0]["text"]
    assert "did not arrive whole" in answer["result"]["content"][0]["text"]


def aborted(web: Web, path: str, *fields: str) -> None:
    """Send half of a body and hang up (blocks)."""
    host = web.origin.removeprefix("http://")
    head = (f"POST {path} HTTP/1.1", f"host: {host}", *(f"{name}: {value}" for name, value in ACCEPT.items()), *fields)
    address = host.rpartition(":")
    with socket.create_connection((address[0], int(address[2]))) as connection:
        connection.sendall("\r\n".join([*head, "content-length: 500", "", '{"jsonrpc":']).encode())


async def test_a_request_that_was_given_up_is_one_line_in_the_log(own: Web) -> None:
    """H10: an aborted POST leaves no traceback, in any era and on both endpoints."""
    with fail_after(40):
        for path, fields in (("/mcp", ()), ("/mcp", ("mcp-protocol-version: 2026-07-28",)), (NO_SESSION, ())):
            before = len(own.log)
            await to_thread.run_sync(aborted, own, path, *fields)
            async with httpx2.AsyncClient() as browser:
                while len(own.log) == before:  # the server notices some time after the connection was closed
                    assert (await browser.get(f"{own.origin}/health")).is_success
    told = [line for line in own.log if "ended before its body" in line]
    assert len(told) == 3
    assert not [line for line in own.log if "Traceback" in line or "ERROR" in line or "WARNING" in line]
