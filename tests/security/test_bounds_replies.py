"""Text of a million characters in every field of what providers say: callers are told 100 of them, and lose nothing."""

import json
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio import create_task_group, fail_after
from PIL import Image
from pydantic import JsonValue
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.providers.http import HttpCall, HttpReply
from controlnet_mcp.providers.types import Report, Submission
from tests.contract.provider_contract import READY, adapter, conversations
from tests.support.conversations import lower
from tests.support.hosted_providers import HOSTED, SIMULATIONS, serving, serving_file
from tests.support.hostile_replies import samples
from tests.support.mcp_session import Reply, Session, open_session, settings_for
from tests.support.sample_drawings import house

pytestmark = pytest.mark.anyio
LONG = "x" * 1_000_000
REPEATED = re.compile("x{101}")
LIMIT_BYTES, MOST_ERROR_BYTES = 1_000_000, 4000
JOBS = 16


def texts_in(value: JsonValue) -> Iterator[tuple[dict[str, JsonValue] | list[JsonValue], str | int]]:
    """The place of every text inside a JSON value."""
    rows: list[tuple[str | int, JsonValue]] = []
    if isinstance(value, dict):
        rows = list(value.items())
    elif isinstance(value, list):
        rows = list(enumerate(value))
    for key, row in rows:
        if isinstance(row, str) and isinstance(value, dict | list):
            yield value, key
        yield from texts_in(row)


def with_long_text(body: JsonValue, where: int | None, text: str = LONG) -> JsonValue:
    """A reply with more text after one of its texts, counted round and round, or after all of them."""
    body = json.loads(json.dumps(body))
    places = list(texts_in(body))
    for holder, key in places if where is None or not places else [places[where % len(places)]]:
        holder[key] = f"{holder[key]} {text}"  # type: ignore[index]  # a key of its own holder
    return body


@pytest.mark.parametrize("provider", HOSTED)
def test_long_text_in_a_recorded_reply_is_told_shortly(provider: str) -> None:
    """Every recorded reply with 50 kB in each of its texts: errors and reports have 4 kB."""
    entry = adapter(READY[provider])
    for sample in samples(provider):
        body = json.dumps(with_long_text(sample.body, None, LONG[:50_000])).encode()
        reply = HttpReply(provider, sample.status, lower(sample.headers), body)
        for steps in conversations(entry):
            is_kept_short(steps, reply)


def is_kept_short(steps: Generator[HttpCall, HttpReply, object], reply: HttpReply) -> None:
    """Hold a conversation in which every reply is the same, and check what it led to."""
    try:
        next(steps)
        while True:
            steps.send(reply)
    except StopIteration as end:
        made: object = end.value
    except ControlNetError as error:
        made = str(error)
    if isinstance(made, Report):
        made = made.model_dump_json(exclude={"outputs"})
    if isinstance(made, Submission):
        made = made.task.remote_id
    if isinstance(made, str):
        assert len(made.encode()) < MOST_ERROR_BYTES
        assert not REPEATED.search(made)


@dataclass(slots=True)
class Talkative:
    """A provider whose replies have a megabyte in one of their texts, each in the next one.

    Attributes:
        app: The provider.
        replies: Number of replies so far.
        long: Number of those that were made long.
    """

    app: ASGIApp
    replies: int = 0
    long: int = field(default=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; pictures are left as they are."""
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)

        await self.app(scope, receive, keep)
        body = b"".join(message.get("body", b"") for message in kept)
        self.replies += 1
        if body.startswith((b"{", b"[")) and self.replies % 4 == 0:
            body, self.long = json.dumps(with_long_text(json.loads(body), self.replies // 4)).encode(), self.long + 1
        start = next(message for message in kept if message["type"] == "http.response.start")
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `house.png`."""
    folder = tmp_path_factory.mktemp("drawings")
    Image.fromarray(house(512)).save(folder / "house.png")
    return folder


@pytest.fixture(scope="module")
def link(drawings: Path) -> Generator[str]:
    """A link to a drawing."""
    with serving_file(drawings / "house.png") as origin:
        yield f"{origin}/house.png"


def is_short(reply: Reply) -> None:
    """Check an answer: its length in every way of writing it, and what it repeats."""
    assert len(json.dumps(reply.result.model_dump(mode="json", by_alias=True))) < LIMIT_BYTES
    assert not REPEATED.search(reply.text)
    if reply.result.is_error:
        assert len(reply.text.encode()) < MOST_ERROR_BYTES


@pytest.mark.parametrize("provider", HOSTED)
async def test_a_megabyte_in_any_field_of_a_provider_is_told_shortly(
    drawings: Path, link: str, tmp_path: Path, provider: str
) -> None:
    """Jobs, lists, errors, warnings, resources and progress of a provider that says a megabyte in the next field."""
    wrapped: list[Talkative] = []

    def talkative(app: ASGIApp) -> ASGIApp:
        wrapped.append(Talkative(app))
        return wrapped[0]

    with ExitStack() as stack:
        service = stack.enter_context(serving(provider, talkative))
        settings = settings_for(tmp_path, drawings, keys=dict(service.variables), trusted_hosts="127.0.0.1")
        with fail_after(50):
            async with open_session(settings) as session, create_task_group() as tasks:
                for number in range(JOBS):
                    tasks.start_soon(one_job, session, provider, link, f"house {number}")
            assert wrapped[0].long >= 1


async def one_job(session: Session, provider: str, link: str, prompt: str) -> None:
    """Buy a picture, and look at it in every way."""
    heard: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:  # noqa: ARG001  # as it is called
        heard.append(message or "")

    arguments: dict[str, JsonValue] = {
        "prompt": prompt,
        "control_image": link,
        "provider": provider,
        "modality": SIMULATIONS[provider].modality,
        "seed": 7,
        "wait_seconds": 3,
    }
    reply = await session.call("controlnet_generate", hear, **arguments)
    is_short(reply)
    is_short(await session.call("list_jobs", limit=100))
    models = await session.call("list_models", provider=provider)  # a name is whole, or left out
    assert len(models.result.model_dump_json()) < LIMIT_BYTES
    is_short(await session.call("controlnet_generate", **arguments, dry_run=True))
    if not reply.result.is_error:
        is_short(await session.call("job_status", job_id=reply.job.job_id))
        is_short(await session.call("cancel_job", job_id=reply.job.job_id))
        (contents,) = await session.read(f"controlnet://jobs/{reply.job.job_id}")
        assert len(contents.model_dump_json()) < LIMIT_BYTES
        assert not REPEATED.search(contents.model_dump_json())
    assert not any(REPEATED.search(message) for message in heard)
