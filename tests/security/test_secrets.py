"""Canaries: keys and tokens are found nowhere after anything that can go wrong, and travel to nobody else.

Every conversation of every provider is made to fail, by a service that repeats whatever it was sent.
"""

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import httpx2
import pytest
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import controlnet_mcp
from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.http import Steps
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import build_table, is_secret, provider_variables
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Output, RemoteTask, ResolvedRequest, Submission
from controlnet_mcp.server.logs import RedactingFormatter
from controlnet_mcp.server.settings import Settings
from tests.contract.provider_contract import PICTURE, READY, STATUSES, adapter, requests
from tests.support.asgi_client import ALICE, Gate, open_gate, write_tokens
from tests.support.hosted_providers import HOSTED, SIMULATIONS, Hosted, keys_of, serving
from tests.support.mcp_session import settings_for
from tests.support.simulators.serving import free_socket, running

pytestmark = pytest.mark.anyio
Style: TypeAlias = Literal["500", "nonsense", "elsewhere"]
KEY_IN_BODY = r'"key": ?"([^"]*)"'
STYLES: tuple[Style, ...] = ("500", "nonsense", "elsewhere")


def echo_of(headers: Mapping[str, str], body: str) -> str:
    """What was sent, keys first: only the beginning of what a provider says is ever repeated."""
    keys = [value for name, value in headers.items() if "key" in name.lower() or name == "authorization"]
    return f"{' '.join([*keys, *re.findall(KEY_IN_BODY, body)])} {dict(headers)} {body[:2000]}"


@dataclass(slots=True)
class EchoingService:
    """Stands before a provider; from one call on, it repeats what it was sent.

    Attributes:
        app: The provider.
        collector: Where it sends callers on to.
        style: How it fails.
        good_calls: How many calls are passed on before.
    """

    app: ASGIApp
    collector: str
    style: Style = "500"
    good_calls: int = 0
    heard: list[str] = field(default_factory=list[str])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or answer it."""
        if self.good_calls > 0:
            self.good_calls -= 1
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = (await request.body()).decode("utf-8", "replace")
        said = echo_of(request.headers, f"{request.url} {body}")
        self.heard.append(said)
        await self._answer(said)(scope, receive, send)

    def _answer(self, said: str) -> Response:
        headers = {"x-echo": re.sub("[^ -~]", " ", said)[:500]}
        match self.style:
            case "nonsense":
                return PlainTextResponse(said, headers=headers)
            case "elsewhere":
                return RedirectResponse(self.collector, 307, headers=headers)
            case status:
                body = dict.fromkeys(("message", "error", "msg", "detail", "reason"), said)
                return JSONResponse(body, int(status), headers=headers)


@dataclass(frozen=True, slots=True)
class KeyCollector:
    """Somebody else's service, and what came to it."""

    origin: str
    stolen: list[str]


@pytest.fixture(scope="module")
def collector() -> Generator[KeyCollector]:
    """That service."""
    stolen: list[str] = []

    async def take(request: Request) -> Response:
        stolen.append(str(dict(request.headers)))
        return PlainTextResponse("thanks")

    app = Starlette(routes=[Route("/{path:path}", take, methods=["GET", "POST", "PUT"])])
    with running(app, free_socket()) as origin:
        yield KeyCollector(origin, stolen)


@contextmanager
def logged(redactor: Redactor) -> Generator[io.StringIO]:
    """Everything that is logged meanwhile, down to the HTTP library's details, as stderr would show it."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(RedactingFormatter(redactor))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def bytes_below(folder: Path) -> bytes:
    """The content of all files of a data folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def told_by(gate: Gate, provider: str) -> list[str]:
    """What every tool and resource that speaks of a provider tells a client."""
    async with gate.client(ALICE) as alice:
        asked = {"provider": provider, "modality": SIMULATIONS[provider].modality}
        job = await alice.generate(**asked, wait_seconds=0.2)
        replies = [job, await alice.generate(**asked, dry_run=True), await alice.call("list_jobs")]
        replies.append(await alice.call("list_models", provider=provider))
        jobs = await alice.client.read_resource("controlnet://jobs")
    return [str(reply.result.model_dump(mode="json")) for reply in replies] + [jobs.model_dump_json()]


async def leaks(settings: Settings, hosted: Hosted, *, blind: bool = False) -> dict[str, list[str]]:
    """Where secrets can be read after a job that failed: in answers, log and record, each with those found in it.

    Args:
        settings: Of the server.
        hosted: The provider that fails.
        blind: Takes the control away: nobody knows what is secret.
    """
    with logged(settings.redactor) as log:
        async with open_gate(settings) as gate:
            await gate.application.table.load()
            for provider in (entry.provider for entry in gate.application.table if entry.provider and blind):
                provider.secrets = ()
            told = await told_by(gate, hosted.name)
    kept = await to_thread.run_sync(bytes_below, settings.data_folder)
    places = {"answers": " ".join(told), "log": log.getvalue(), "record": kept.decode("utf-8", "replace")}
    hunted = canaries(hosted)
    return {place: found for place, text in places.items() if (found := [row for row in hunted if row in text])}


def canaries(hosted: Hosted) -> list[str]:
    """The texts that may be found nowhere: keys, what is made of them for a header, and the caller's token."""
    provider = next(row.provider for row in build_table(keys_of([hosted])) if row.name == hosted.name)
    assert provider is not None
    return [*hosted.secrets, *(secret.get_secret_value() for secret in provider.secrets), ALICE]


@pytest.mark.parametrize("name", HOSTED)
async def test_a_secret_is_found_nowhere_whatever_fails(
    name: str, tmp_path: Path, pictures: Path, collector: KeyCollector
) -> None:
    """Neither in answers, nor in the log at its most talkative, nor in the record, nor beside the pictures."""
    echoes: list[EchoingService] = []

    def before(app: ASGIApp) -> ASGIApp:
        echoes.append(EchoingService(app, collector.origin))
        return echoes[0]

    tokens = write_tokens(tmp_path / "tokens")
    with serving(name, before) as hosted:
        for number, style in enumerate(STYLES):
            echoes[0].style, echoes[0].good_calls = style, number % 2
            more = {"keys": keys_of([hosted]), "tokens_file": tokens, "public_url": "https://pictures.example"}
            settings = settings_for(tmp_path / str(number), pictures, **more)
            assert await leaks(settings, hosted) == {}, (style, number)
    assert any(secret in text for text in echoes[0].heard for secret in canaries(hosted)), "the premise"
    assert not any(ALICE in text for text in echoes[0].heard), "the caller's token is not the provider's business"
    assert collector.stolen == []


def conversations(provider: Provider) -> Iterator[Steps[object]]:
    """All that is ever said to a provider."""
    request, task = next(requests(provider)), RemoteTask(remote_id="task-1")
    yield from (provider.poll(task), provider.cancel(task), provider.balance(), provider.models())
    if provider.uploads(request):
        yield from (provider.upload(PICTURE), provider.locate(Output(asset_id="asset_1")))
    yield submission(provider, request)
    yield provider.price(request, {picture.sha256: "asset_1" for picture in provider.uploads(request)})


def submission(provider: Provider, request: ResolvedRequest) -> Steps[Submission]:
    """The one call that costs money."""
    uploaded = {picture.sha256: "asset_1" for picture in provider.uploads(request)}
    return provider.read((yield provider.build(request, "reference", uploaded)))


async def told_in(provider: Provider, blobs: BlobStore, status: int) -> list[str]:
    """What comes of every conversation with a provider that answers with an echo, and with a way to somebody else."""
    told: list[str] = []

    def echo(sent: httpx2.Request) -> httpx2.Response:
        said = echo_of(sent.headers, sent.content.decode("utf-8", "replace"))
        body = dict.fromkeys(("message", "error", "msg", "id", "request_id", "status", "url"), said)
        return httpx2.Response(status, json=body, headers={"location": "https://evil.example/", "x-echo": said[:200]})

    async def nowhere(url: str) -> bytes:
        raise AssertionError(f"nothing may be fetched from {url}")

    runner = Sender(PictureSource(blobs), nowhere, {provider.name: httpx2.MockTransport(echo)})
    for steps in conversations(provider):
        try:
            told.append(repr(await runner.run(provider, steps)))
        except ControlNetError as error:
            told += [str(error), repr(error), repr(error.__cause__), getattr(error, "provider_message", "")]
    await runner.aclose()
    return told


@pytest.mark.parametrize("name", HOSTED)
async def test_no_conversation_brings_a_secret_back(name: str, tmp_path: Path) -> None:
    """Whether it is understood, refused or sent elsewhere; without the control most of them do."""
    provider, blobs = adapter(READY[name]), BlobStore(tmp_path)
    secrets = [secret.get_secret_value() for secret in provider.secrets]
    assert secrets
    seen = " ".join([text for status in STATUSES for text in await told_in(provider, blobs, status)])
    assert not any(secret in seen for secret in secrets)
    known, provider.secrets = provider.secrets, ()
    try:
        blind = " ".join([text for status in STATUSES for text in await told_in(provider, blobs, status)])
    finally:
        provider.secrets = known
    assert any(secret in blind for secret in secrets)


class BlindSettings(Settings):
    """The boundary taken away: nothing is known to be secret."""

    @cached_property
    def redactor(self) -> Redactor:
        """Knows no secret."""
        return Redactor()


async def test_where_nobody_knows_what_is_secret_it_is_found_everywhere(
    tmp_path: Path, pictures: Path, collector: KeyCollector
) -> None:
    """What the control is for, and that the search finds what is there."""
    with serving("wavespeed", lambda app: EchoingService(app, collector.origin, "500")) as hosted:
        tokens = write_tokens(tmp_path / "tokens")
        settings = settings_for(tmp_path / "data", pictures, keys=keys_of([hosted]), tokens_file=tokens)
        given = {name: getattr(settings, name) for name in Settings.model_fields}
        found = await leaks(BlindSettings.model_construct(**given), hosted, blind=True)
    assert found.keys() == {"answers", "log", "record"}


def test_nothing_shows_a_secret_of_itself(tmp_path: Path, pictures: Path) -> None:
    """Settings, providers and calls may be printed, by us or by a debugger."""
    keys = {name: f"canary-{name}" for name in provider_variables() if is_secret(name)}
    settings = settings_for(tmp_path, pictures, keys=keys)
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.redactor)]
    for entry in build_table(keys):
        if entry.provider is not None:
            shown += [repr(entry), repr(entry.provider), repr(entry.provider.secrets)]
            for steps in (entry.provider.balance(), entry.provider.models()):
                with suppress(StopIteration):
                    shown.append(repr(next(steps)))
    assert "canary" not in "".join(shown)


TALKATIVE = """
import logging, sys
from pydantic import SecretStr
from controlnet_mcp.foundation.redaction import Redactor
from controlnet_mcp.server.logs import log_to_stderr

class Secret(Exception):
    pass

log_to_stderr("DEBUG", Redactor([SecretStr("canary-key-1")] if sys.argv[1] == "guarded" else []))
log = logging.getLogger("somebody.else")
log.warning("sent %s", {"authorization": "Bearer canary-key-1"})
log.debug("canary-key-1")
logging.getLogger("httpx2").info("GET https://example.org/?key=canary-other")
logging.getLogger("httpcore2.http11").debug("headers=[canary-other]")
try:
    raise Secret("refused: canary-key-1")
except Secret:
    log.exception("failed", stack_info=True)
raise Secret("uncaught: canary-key-1")
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_stderr_shows_no_secret_not_even_in_a_traceback(*, guarded: bool) -> None:
    """Messages, arguments, exceptions, logged or uncaught; what the HTTP library says of a URL never."""
    roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
    words = [sys.executable, "-c", TALKATIVE, "guarded" if guarded else "blind"]
    ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": roots}, capture_output=True, check=False, text=True)
    assert ended.returncode == 1
    assert ended.stderr.count("(secret)" if guarded else "canary-key-1") >= 4
    assert ("canary-key-1" in ended.stderr) != guarded
    assert "canary-other" not in ended.stderr
    assert ended.stdout == ""
