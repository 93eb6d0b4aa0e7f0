"""Text of a million characters, wherever one can be handed in: what leaves is bounded, and repeats 100 of them.

Through a server in memory, stdio and HTTP, in both eras of the protocol, and out of the mouths of providers.
"""

import json
import logging
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import mcp_types as types
import pytest
from anyio import fail_after
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.foundation.text import MOST_MESSAGE_BYTES, bounded
from controlnet_mcp.providers.registry import adapter_class
from controlnet_mcp.providers.types import Fault, RequestWarning
from controlnet_mcp.server.logs import RedactingFormatter
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools import TOOLS
from controlnet_mcp.tools.tool import Tool
from tests.support.asgi_client import ACCEPT, INITIALIZE, open_gate
from tests.support.attack_targets import giving, victim_of
from tests.support.hosted_providers import HOSTED, SIMULATIONS
from tests.support.mcp_session import Session, open_session, settings_for
from tests.support.raw_messages import Wire, open_wire
from tests.support.server_process import MODERN_META, Pipe, Place, piped

pytestmark = pytest.mark.anyio

LIMIT_BYTES = 1_000_000
MOST_ERROR_BYTES = 4000
MEGABYTE = 1_000_000
LONG = {
    "letters": "x" * MEGABYTE,
    "words": "word " * (MEGABYTE // 5),
    "path": "/folder" * (MEGABYTE // 7),
    "emoji": "\U0001f600" * (MEGABYTE // 4),
    "data": f"data:image/png;base64,{'iVBORw0KGgo/' * (MEGABYTE // 12)}",
    "quotes": "'\" " * (MEGABYTE // 3),
    "control": "\x00\x1b\n" * (MEGABYTE // 3),
    "link": f"https://example.org/{'a?b=' * (MEGABYTE // 4)}",
}
"""Text of about a megabyte, in several manners."""
REPEATED = re.compile(r"(\S)\1{100}")
"""A letter more often than anything may be repeated."""


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=20), st.sampled_from(sorted(LONG)), st.integers(1, 3000), st.sampled_from(["", "'", '"', "`"]))
def test_any_sentence_is_bounded(about: str, manner: str, length: int, mark: str) -> None:
    """Whatever an error repeats, its sentences are short, and stay so when they are told again."""
    given_text = LONG[manner][:length]
    for text in (
        f"There is no {mark}{given_text}{mark}: {about}.",
        f"{given_text}{about}",
        f"{about}\ud83d{given_text}",
    ):
        said = bounded(text)
        assert len(said.encode()) <= MOST_MESSAGE_BYTES
        assert len(bounded(said)) <= len(said), "an error that is told again, as part of another one, grows no longer"
        assert not REPEATED.search(said)
    if manner == "words" and mark and len(given_text) > 120:
        assert given_text[:101] not in bounded(f"There is no {mark}{given_text}{mark}: {about}.")


@pytest.mark.parametrize("manner", LONG)
def test_an_error_a_fault_and_a_warning_are_bounded_where_they_are_made(manner: str) -> None:
    """One bound for all: 4 kB, and the sentence that is around what is repeated is whole."""
    text = LONG[manner]
    error = RequestError("invalid_request", f"{text!r} is not known here.", hint=f"Leave {text!r} out of it.")
    fault = Fault(code="provider_failed", message=f"It said: {text!r}. Sorry.", hint=text)
    warning = RequestWarning(kind="assumed", feature=text, detail=f"{text!r} was left out.")
    assert len(str(error).encode()) < MOST_ERROR_BYTES
    assert len(fault.model_dump_json().encode()) < 2 * MOST_ERROR_BYTES
    assert str(error).endswith("out of it.")
    assert "is not known here." in error.message
    assert fault.message.endswith("Sorry.")
    assert warning.detail.endswith("was left out.")
    for said in (error.message, error.hint, fault.message, fault.hint, warning.feature, warning.detail):
        assert not REPEATED.search(said)
        assert len(said) <= MOST_MESSAGE_BYTES


def test_sentences_without_anything_long_stay_as_they_are() -> None:
    """Apostrophes, paths and lists are left alone."""
    folder = "/home/somebody/Pictures/Screenshots of 2026/drawings for the kitchen/second floor, later version/sketches"
    known = ", ".join(f"model-{number}" for number in range(60))
    for text in (
        f"The provider's answer wasn't what the user's client expects, and the operator's log doesn't say; {known}.",
        f"'{'x' * 100}' is outside of the folders that may be read. Move the picture to one of {folder}, {folder}.",
    ):
        assert bounded(text) == text


@pytest.mark.parametrize("failed", [True, False])
@pytest.mark.parametrize("manner", LONG)
def test_a_record_of_the_log_is_bounded(manner: str, *, failed: bool) -> None:
    """Secrets are cut out first; of a traceback every line is short, and its end is there."""
    secret = SecretStr("secret-of-the-operator")
    formatter = RedactingFormatter(Redactor([secret]))
    said = f"{secret.get_secret_value()} {LONG[manner]}"
    error = ValueError(said)
    information = (ValueError, error, None) if failed else None
    record = logging.LogRecord("controlnet", logging.ERROR, __file__, 1, "It failed: %s", (said,), information)
    text = formatter.format(record)
    assert secret.get_secret_value() not in text
    assert max(len(line.encode()) for line in text.splitlines()) < MOST_ERROR_BYTES
    assert len(text) < (20_000 if failed else MOST_ERROR_BYTES)
    assert not REPEATED.search(text)
    assert text.startswith("ERROR controlnet: It failed: ")


@pytest.fixture(params=["auto", "legacy"])
async def wire(request: pytest.FixtureRequest, settings: Settings) -> AsyncGenerator[Wire]:
    """A connection of each era of the protocol."""
    async with open_wire(settings, request.param) as opened:
        yield opened


def is_short(answer: types.JSONRPCResponse | types.JSONRPCError, manner: str) -> None:
    """Check a refusal, or that a result is no longer than a message may be, in whatever way it is written."""
    message = answer.model_dump(mode="json", by_alias=True)
    assert len(json.dumps(message)) < LIMIT_BYTES
    texts = []
    if isinstance(answer, types.JSONRPCError):
        texts = [answer.error.message, json.dumps(answer.error.data)]
    elif answer.result.get("isError"):
        texts = [answer.result["content"][0]["text"]]
    for text in texts:
        assert "itself failed" not in text
        assert len(text.encode()) < MOST_ERROR_BYTES
        assert not REPEATED.search(text)
        assert LONG[manner][:120] not in text


USUAL: dict[str, dict[str, JsonValue]] = {
    "controlnet_generate": {"prompt": "x", "control_image": "sketch.png", "dry_run": True},
    "extract_control_map": {"image": "sketch.png"},
    "job_status": {"job_id": "job_1"},
    "cancel_job": {"job_id": "job_1"},
    "list_models": {"provider": "draft"},
}


@pytest.mark.parametrize("manner", LONG)
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
async def test_a_megabyte_in_any_argument_is_answered_shortly(
    settings: Settings, pictures: Path, tool: Tool, manner: str
) -> None:
    """Every argument of every tool, as text, in a list, in objects as name and value, and a name that is none."""
    usual = dict(USUAL.get(tool.name, {}))
    for picture in {"control_image", "image"} & usual.keys():
        usual[picture] = str(pictures / "sketch.png")
    text = LONG[manner]
    values: list[JsonValue] = [text, [text], {text: text}, [{"modality": text, "image": text, text: text}]]
    given: list[dict[str, JsonValue]] = [{name: value} for name in tool.arguments.model_fields for value in values]
    given.append({text: 1})
    async with open_wire(settings, "auto") as wire:
        for more in given:
            is_short(await wire.ask("tools/call", {"name": tool.name, "arguments": usual | more}), manner)
        assert wire.longest_bytes < LIMIT_BYTES


@pytest.mark.parametrize("manner", LONG)
async def test_a_megabyte_anywhere_else_is_answered_shortly(wire: Wire, manner: str) -> None:
    """Names of methods, tools, prompts and resources, arguments of prompts, completions, cursors, tokens, versions."""
    text = LONG[manner]
    prompt: dict[str, JsonValue] = {"type": "ref/prompt", "name": text}
    template: dict[str, JsonValue] = {"type": "ref/resource", "uri": text}
    known: dict[str, JsonValue] = {"type": "ref/prompt", "name": "restyle"}
    typed: dict[str, JsonValue] = {"name": text, "value": text}
    requests: list[tuple[str, dict[str, JsonValue]]] = [
        (text, {}),
        (f"tools/{text}", {}),
        ("tools/call", {"name": text}),
        ("tools/call", {"name": text, "arguments": text}),
        ("tools/call", {"name": "list_jobs", "arguments": {}, "_meta": {"progressToken": text}}),
        ("tools/call", {"name": "list_jobs", "arguments": {}, "_meta": {text: text}}),
        ("prompts/get", {"name": text}),
        ("prompts/get", {"name": "restyle", "arguments": {"image": text, "look": "x"}}),
        ("prompts/get", {"name": "restyle", "arguments": {"image": "x", "look": "x", text: text}}),
        ("prompts/get", {"name": "restyle", "arguments": {"image": 5, text: [text]}}),
        ("resources/read", {"uri": text}),
        ("resources/read", {"uri": f"controlnet://{text}"}),
        ("resources/read", {"uri": f"controlnet://jobs/{text}"}),
        ("resources/read", {"uri": f"controlnet://jobs/{text}/sheet"}),
        ("resources/read", {"uri": f"controlnet://maps/{text}"}),
        ("resources/subscribe", {"uri": text}),
        ("resources/unsubscribe", {"uri": text}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": [f"controlnet://jobs/{text}"]}}),
        ("completion/complete", {"ref": prompt, "argument": typed}),
        ("completion/complete", {"ref": template, "argument": typed}),
        ("completion/complete", {"ref": known, "argument": typed}),
        ("completion/complete", {"ref": {text: text}, "argument": typed}),
        ("logging/setLevel", {"level": text}),
    ]
    for method, params in requests:
        is_short(await wire.ask(method, params), manner)
    for kind in ("tools", "prompts", "resources", "resources/templates"):
        is_short(await wire.ask(f"{kind}/list", {"cursor": text}), manner)
    assert wire.longest_bytes < LIMIT_BYTES


@pytest.fixture
async def pipe(tmp_path: Path, pictures: Path) -> AsyncGenerator[Pipe]:
    """A running server, spoken to line by line."""
    with fail_after(55):
        async with piped(Place(tmp_path / "data", pictures), tmp_path / "stderr") as opened:
            yield opened


def enveloped(name: str, value: JsonValue) -> dict[str, JsonValue]:
    """Parameters of the current era with another field in their envelope."""
    return {"_meta": {**MODERN_META, name: value}}


def raw_requests(text: str) -> list[dict[str, JsonValue]]:
    """Requests of the current era with text in every field of the envelope, and in a few others."""
    usual: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": MODERN_META}}
    params: list[JsonValue] = [
        text,
        enveloped(types.PROTOCOL_VERSION_META_KEY, text),
        enveloped("progressToken", text),
        enveloped(types.CLIENT_INFO_META_KEY, {"name": text, "version": text}),
        enveloped(types.CLIENT_CAPABILITIES_META_KEY, {text: {}}),
        {"_meta": text},
        {text: text, "_meta": MODERN_META},
    ]
    opening: JsonValue = {"protocolVersion": text}
    call: JsonValue = {"name": "job_status", "arguments": {"job_id": text}, "_meta": MODERN_META}
    return [
        usual,
        *(usual | {name: text} for name in ("id", "method", "jsonrpc", text)),
        *(usual | {"params": row} for row in params),
        usual | {"method": "initialize", "params": opening},
        usual | {"method": "tools/call", "params": call},
    ]


@pytest.mark.parametrize("manner", ["letters", "words", "emoji"])
async def test_a_megabyte_over_stdio_is_answered_shortly(pipe: Pipe, tmp_path: Path, manner: str) -> None:
    """Every request has an answer of less than a megabyte, its refusal has 4 kB, and the log stays short."""
    text = LONG[manner]
    for request in raw_requests(text):
        await pipe.send(request)
        line = await pipe.lines.receive_until(b"\n", 8_000_000)
        answer = json.loads(line)
        assert len(line) < LIMIT_BYTES
        if "error" in answer:
            assert len(line) < MOST_ERROR_BYTES
            assert not REPEATED.search(line.decode())
        assert answer["id"] == (None if request["id"] == text else 7)
    log = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert len(log) < 20_000


@pytest.mark.parametrize("manner", ["letters", "words", "emoji"])
async def test_a_megabyte_over_http_is_answered_shortly(
    settings: Settings, caplog: pytest.LogCaptureFixture, manner: str
) -> None:
    """The same over HTTP, in both eras, and with 8 kB in the header fields that are compared with the message."""
    text = LONG[manner]
    async with open_gate(settings) as gate, gate.browser() as browser:
        opening = await browser.post("/mcp", json=INITIALIZE, headers=ACCEPT)
        session = {"mcp-session-id": opening.headers["mcp-session-id"]}
        version = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
        odd = {"mcp-protocol-version": "x" * 8000, "mcp-method": "x" * 8000, "mcp-name": "x" * 8000}
        for request in raw_requests(text):
            for fields in (session, version, odd, {"mcp-session-id": "x" * 8000}, {"last-event-id": "x" * 8000}):
                answer = await browser.post("/mcp", json=request, headers=ACCEPT | fields)
                assert answer.status_code < 500, answer.text[:300]
                assert len(answer.content) < LIMIT_BYTES
                if answer.is_client_error:
                    assert len(answer.content) < MOST_ERROR_BYTES
                    assert not REPEATED.search(answer.text)
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("provider", HOSTED)
async def test_a_megabyte_in_an_option_of_a_provider_is_refused(tmp_path: Path, pictures: Path, provider: str) -> None:
    """What would be sent, kept and shown is bounded before anything is planned."""
    keys = {name: SecretStr(key) for name, key in SIMULATIONS[provider].keys.items()}
    options = adapter_class(provider).options.model_fields
    async with open_session(settings_for(tmp_path, pictures, keys=keys)) as session:
        for name in options:
            reply = await session.generate(provider=provider, provider_options={name: LONG["letters"]}, dry_run=True)
            assert reply.error.code == "invalid_request"
            assert "provider_options" in reply.error.message
            assert len(reply.text.encode()) < MOST_ERROR_BYTES


async def test_a_list_of_models_ends_where_a_message_does(tmp_path: Path, pictures: Path) -> None:
    """Of 20,000 names as many are listed as an answer may hold twice, and a note says how many are left out."""
    rows = [{"model_id": f"wavespeed-ai/flux-controlnet-{number}", "name": "a name"} for number in range(20_000)]
    page = json.dumps({"code": 200, "data": rows}).encode()
    with victim_of(giving(page, Content_Type="application/json")) as service:
        keys = {"WAVESPEED_API_KEY": SecretStr("k"), "WAVESPEED_BASE_URL": SecretStr(service.url(""))}
        async with open_session(settings_for(tmp_path, pictures, keys=keys)) as session:
            reply = await session.call("list_models", provider="wavespeed")
    assert len(json.dumps(reply.result.model_dump(mode="json", by_alias=True))) < LIMIT_BYTES
    answer = json.loads(reply.text)
    assert 100 < len(answer["models"]) < 20_000
    assert str(20_000 - len(answer["models"])) in answer["note"]


async def test_a_list_of_jobs_ends_where_a_message_does(session: Session) -> None:
    """Prompts of emoji and faults of 4 kB: a page ends early, and its cursor leads to the others."""
    store, first = session.application.services.jobs.store, (await session.generate()).job
    made = await store.get(first.job_id, "local")
    warning = RequestWarning(kind="assumed", feature="x", detail="\U0001f600 " * 500)
    for number in range(99):
        number_of = f"job_{number:032x}"
        row = made.model_copy(
            update={"job_id": number_of, "reference": number_of, "warnings": (warning,) * 3, "created_at": number}
        )
        await store.add(row, fingerprint=number_of, request_key=None)
    seen: list[str] = []
    arguments: dict[str, JsonValue] = {"limit": 100}
    while True:
        reply = await session.call("list_jobs", **arguments)
        assert len(json.dumps(reply.result.model_dump(mode="json", by_alias=True))) < LIMIT_BYTES
        seen += [job.job_id for job in reply.listed]
        arguments["cursor"] = json.loads(reply.text).get("next_cursor")
        if arguments["cursor"] is None:
            break
    assert len(seen) == len(set(seen)) == 100
