"""Names, pages and paths under which a server on a port is reached: through tunnels, prefixes and browsers."""

import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import pytest
from pydantic import JsonValue
from starlette.types import Message

from controlnet_mcp.server.auth.file_links import FileLinks
from controlnet_mcp.server.settings import Settings
from tests.support.asgi_client import ACCEPT, ALICE, INITIALIZE, Gate, open_gate, write_tokens
from tests.support.mcp_session import settings_for

pytestmark = pytest.mark.anyio
PAGE = "https://ui.example"
ENDPOINTS = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages/")]
PATHS = [*ENDPOINTS, ("GET", "/files/x.png"), ("GET", "/health"), ("GET", "/nowhere")]
PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,mcp-protocol-version,mcp-session-id,x-of-a-client",
}


@pytest.fixture
def guarded(tmp_path: Path, pictures: Path) -> Settings:
    """Settings of a server with tokens, a public URL under a path, and one allowed page."""
    return settings_for(
        tmp_path / "data",
        pictures,
        tokens_file=write_tokens(tmp_path / "tokens"),
        public_url="https://pictures.example/draw",
        allowed_hosts=("tunnel.example",),
        allowed_origins=("https://UI.example/", "app://inspector", "null"),
    )


@pytest.fixture
async def gate(guarded: Settings) -> AsyncGenerator[Gate]:
    """That server."""
    async with open_gate(guarded) as opened:
        yield opened


async def asked(gate: Gate, method: str, path: str, token: str | None = None, **headers: str) -> httpx2.Response:
    """The answer to a request; an SSE stream is not waited for."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gate.browser(token) as browser:
        return await browser.request(method, path, json=INITIALIZE, headers=ACCEPT | fields)


def cors_of(answer: httpx2.Response) -> dict[str, str]:
    """What an answer says to browsers."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [PAGE, "http://localhost:6274", "http://127.0.0.1", "app://inspector", "null"])
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_d3_a_preflight_of_an_allowed_page_is_answered_before_the_authentication(
    gate: Gate, method: str, path: str, origin: str
) -> None:
    """D3: a browser asks without a token whether the page may send one, and whatever header it asks for."""
    answer = await asked(gate, "OPTIONS", path, origin=origin, **PREFLIGHT | {"access-control-request-method": method})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert method in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert "x-of-a-client" in answer.headers["access-control-allow-headers"]
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_d3_every_answer_can_be_read_by_an_allowed_page(gate: Gate, method: str, path: str) -> None:
    """D3: refusals too: 401, 404, 405, 406; the headers that a client needs are exposed."""
    for token in (None, ALICE):
        if token and (method, path) == ("GET", "/sse"):
            continue  # a stream that does not end
        answer = await asked(gate, method, path, token, origin=PAGE, accept="text/plain")
        assert answer.headers["access-control-allow-origin"] == PAGE, answer.status_code
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert {"mcp-session-id", "www-authenticate", "retry-after"} <= set(exposed.split(", "))
        assert "Origin" in answer.headers["vary"]


async def test_d3_a_page_reads_the_session_and_the_refusals_of_size_and_rate(guarded: Settings) -> None:
    """D3: a first message that succeeds, one that is too large (413), one too many (429), and a failure (500)."""
    few = guarded.model_copy(update={"max_requests_per_minute": 3, "max_request_bytes": 65536})
    async with open_gate(few) as gate:
        opened = await asked(gate, "POST", "/mcp", ALICE, origin=PAGE)
        assert opened.status_code == 200
        assert opened.headers["mcp-session-id"]
        async with gate.browser(ALICE, origin=PAGE) as browser:
            large = [await browser.post(path, content=b" " * 70_000, headers=ACCEPT) for path in ("/mcp", "/messages/")]
        many = await asked(gate, "POST", "/mcp", ALICE, origin=PAGE)
        assert [row.status_code for row in (*large, many)] == [413, 413, 429]
        for answer in (opened, *large, many):
            assert answer.headers["access-control-allow-origin"] == PAGE


async def test_d3_a_page_reads_that_the_server_failed(gate: Gate) -> None:
    """D3: what Starlette answers by itself to a failure of ours would lack the header."""
    sent: list[Message] = []

    async def broken() -> Message:
        raise RuntimeError("not even a request")

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"origin", PAGE.encode()), (b"authorization", f"Bearer {ALICE}".encode())]
    scope = {"type": "http", "method": "POST", "path": "/messages/", "query_string": b"", "headers": headers}
    with pytest.raises(RuntimeError):
        await gate.app(scope | {"root_path": "", "scheme": "http"}, broken, send)
    assert sent[0]["status"] == 500
    assert (b"access-control-allow-origin", PAGE.encode()) in sent[0]["headers"]


FOREIGN = [
    *("https://evil.example", "http://ui.example", "https://ui.example.evil", "https://ui.example:8443", "https://ui"),
    *("https://evil.ui.example", "http://localhost.evil:80", "https://localhost", "http://127.0.0.1.evil", "file://"),
    *("https://pictures.example:444", "app://other", "NULL", "https://ui.example@evil"),
    *("https://ui.example/x", "http://127.0.0.1:1/x", "://localhost", "http:localhost"),
]


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_d3_a_foreign_page_gets_nothing(gate: Gate, method: str, path: str, origin: str) -> None:
    """D3, attack: neither to its preflight nor to a request, with a good token or without, is it let to read."""
    preflight = PREFLIGHT | {"access-control-request-method": method}
    answers = [await asked(gate, "OPTIONS", path, origin=origin, **preflight)]
    answers += [await asked(gate, method, path, token, origin=origin) for token in (None, ALICE)]
    for answer in answers:
        assert cors_of(answer) == {}
        assert "Origin" in answer.headers["vary"]
    if (method, path) in ENDPOINTS:
        assert [row.status_code for row in answers[1:]] == [401, 403]
        assert answers[0].status_code in {401, 405}


async def test_d3_a_refused_page_is_told_the_setting(gate: Gate) -> None:
    """D3: in the body, for whoever looks into the browser's tools."""
    said = (await asked(gate, "POST", "/mcp", ALICE, origin="https://evil.example")).json()["error"]
    assert "evil.example" in said
    assert "CONTROLNET_MCP_ALLOWED_ORIGINS" in said


@pytest.mark.parametrize(
    "host",
    [
        *("pictures.example", "PICTURES.Example", "pictures.example:443", "pictures.example.", "Pictures.Example.:443"),
        *(
            "tunnel.example",
            "TUNNEL.EXAMPLE:443",
            "tunnel.example:80",
            "tunnel.example.",
            "127.0.0.1:8000",
            "LOCALHOST",
        ),
        *("localhost.:6274", "[::1]", "[::1]:8000", "127.0.0.1:"),
    ],
)
async def test_d4_case_port_and_final_dot_of_a_host_do_not_matter(gate: Gate, host: str) -> None:
    """D4: as tunnels and clients spell the names that the operator gave."""
    assert (await asked(gate, "POST", "/mcp", ALICE, host=host)).status_code == 200


async def test_d4_a_host_may_be_listed_in_any_script(guarded: Settings) -> None:
    """D4: requests have its name in ASCII (IDNA); a header with other characters is a foreign name, and no failure."""
    async with open_gate(guarded.model_copy(update={"allowed_hosts": ("Bücher.example", "x" * 70 + "é.y")})) as gate:
        assert (await asked(gate, "POST", "/mcp", ALICE, host="xn--bcher-kva.example")).status_code == 200
        async with gate.browser(ALICE) as browser:
            for host in ("bücher.example", "l\xbacalhost", "\xff" * 80):
                headers = [(b"host", host.encode("latin-1")), *((k.encode(), v.encode()) for k, v in ACCEPT.items())]
                assert (await browser.post("/mcp", json=INITIALIZE, headers=headers)).status_code == 421


@pytest.mark.parametrize(
    "listed", ["abc.host", "ABC.host", "abc.host.", "https://abc.host/", "abc.host:443", "abc.host:*", " abc.host "]
)
async def test_d4_a_host_may_be_listed_as_people_write_it(guarded: Settings, listed: str) -> None:
    """D4: copied from a browser, with a port, in capitals."""
    async with open_gate(guarded.model_copy(update={"allowed_hosts": (listed,)})) as gate:
        for host in ("abc.host", "ABC.host:443"):
            assert (await asked(gate, "POST", "/mcp", ALICE, host=host)).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "pictures.example:8443", "pictures.example.evil", "evil.pictures.example", "127.0.0.1.evil"),
        *(
            "127.0.0.1:80@evil",
            "127.0.0.1@evil",
            "[::1].evil",
            "[::1]:x",
            "localhost:8000:8000",
            "a" * 300,
            "::",
            ":80",
            "http://127.0.0.1",
            "127.0.0.1/x",
            "localhost..",
        ),
    ],
)
async def test_d4_a_name_that_is_not_known_names_the_setting(gate: Gate, host: str) -> None:
    """D4, attack: look-alikes stay out (421), and the answer says what an operator behind a tunnel has to set."""
    answer = await asked(gate, "POST", "/mcp", ALICE, host=host)
    assert answer.status_code == 421
    said = answer.json()["error"]
    assert "CONTROLNET_MCP_ALLOWED_HOSTS" in said
    assert "CONTROLNET_MCP_PUBLIC_URL" in said
    assert len(said) < 400


async def announced(gate: Gate, path: str = "/sse", **headers: str) -> str:
    """The path for messages that an SSE connection names; one message to it is accepted."""
    async with gate.sse(path, **headers) as place, gate.browser(ALICE) as browser:
        inner = place[place.index("/messages/") :]
        assert (await browser.post(inner, json=INITIALIZE, headers=ACCEPT)).status_code == 202
        if path != "/sse":
            assert (await browser.post(place, json=INITIALIZE, headers=ACCEPT)).status_code == 202
    return place.partition("?")[0]


@pytest.mark.parametrize(
    ("told", "path"),
    [
        ("", "/draw/messages/"),
        ("/app", "/app/messages/"),
        ("/app/", "/app/messages/"),
        ("app", "/app/messages/"),
        ("/outer, /inner", "/outer/inner/messages/"),
        ("/a/b-c_d.e~f", "/a/b-c_d.e~f/messages/"),
        ("/", "/draw/messages/"),
    ],
)
async def test_d5_the_path_for_messages_has_the_prefix(gate: Gate, told: str, path: str) -> None:
    """D5: that of the proxy that says it, or that of the public URL."""
    headers = {"x-forwarded-prefix": told} if told else {}
    assert await announced(gate, **headers) == path


@pytest.mark.parametrize(
    "told",
    [
        "//evil.example",
        "/a/../b",
        "https://evil.example",
        "/\\evil",
        "/a b",
        "/%2e%2e",
        "/a?b",
        "/a#b",
        "/é",
        "/x" * 200,
    ],
)
async def test_d5_a_prefix_leads_to_no_other_host(gate: Gate, told: str) -> None:
    """D5, attack: whatever the header holds, the path stays one of this server."""
    place = await announced(gate, **{"x-forwarded-prefix": told.encode().decode("latin-1")})
    assert place in {"/draw/messages/", "/evil.example/messages/"}


async def test_d5_a_proxy_may_pass_the_prefix_on(gate: Gate) -> None:
    """D5: under the path of the public URL everything is served once more."""
    assert await announced(gate, "/draw/sse") == "/draw/messages/"
    assert (await asked(gate, "POST", "/draw/mcp", ALICE)).status_code == 200
    assert (await asked(gate, "POST", "/draw/mcp", None)).status_code == 401
    assert (await asked(gate, "POST", "/draw/mcp", ALICE, host="evil.example")).status_code == 421
    assert (await asked(gate, "GET", "/draw/health")).json()["status"] == "ok"


async def test_d5_links_to_files_have_the_name_and_prefix_that_the_client_used(
    guarded: Settings,
) -> None:
    """D5: where no public URL is set, the links of an answer open at the address that it was asked for under."""
    listening = FileLinks("http://0.0.0.0:8000", b"secret", lambda: 0.0, told=False)
    plain = guarded.model_copy(update={"public_url": None})
    picture = base64.b64encode((plain.allowed_folders[0] / "photo.png").read_bytes()).decode()
    image = f"data:image/png;base64,{picture}"
    call: dict[str, JsonValue] = {"name": "extract_control_map", "arguments": {"image": image}}
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    async with open_gate(plain, links=listening) as gate:
        for fields, base in (
            ({"host": "tunnel.example", "x-forwarded-prefix": "/draw"}, "http://tunnel.example/draw"),
            ({"host": "127.0.0.1:8000"}, "http://127.0.0.1:8000"),
            ({"host": "tunnel.example", "x-forwarded-prefix": "/../x"}, "http://tunnel.example"),
        ):
            async with gate.browser(ALICE) as browser:
                opened = await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT)
                session = {"mcp-session-id": opened.headers["mcp-session-id"]}
                answer = await browser.post("/mcp", content=message, headers=ACCEPT | session | fields)
            assert f"{base}/files/" in answer.text
