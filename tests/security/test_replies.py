"""Replies with hostile values in them: never a crash, never a leak, never a success without a picture."""

import io
import json
import unicodedata
from collections.abc import Generator
from pathlib import Path

import anyio
import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.results import download_results
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.http import HttpCall, HttpReply
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Output, ResolvedRequest
from tests.contract.provider_contract import MARK, MOST_CALLS, PICTURE, READY, adapter, conversations, requests
from tests.support.conversations import recorded
from tests.support.hosted_providers import HOSTED, SIMULATIONS
from tests.support.hostile_replies import RAW, Edit, mutated, samples

EDITS = st.lists(st.builds(Edit, st.integers(0, 400), st.integers(0, len(RAW) + 4)), max_size=3)
STATUSES = st.sampled_from([None, None, None, 200, 200, 201, 302, 400, 401, 402, 404, 406, 422, 429, 500, 503])
CUTS = st.none() | st.integers(0, 3000)
PNG = encode_png(np.zeros((8, 8, 3), dtype=np.uint8))
USUAL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_clean(error: ControlNetError) -> None:
    """Check what a caller would be told."""
    assert MARK not in str(error)
    assert len(error.message) < 1500
    assert {unicodedata.category(letter) for letter in error.message} & {"Cc", "Cf", "Cs"} == set()


def is_kept(value: object) -> None:
    """Check that what was understood can be written down as strict JSON, and read again, and tells no secret."""
    if isinstance(value, BaseModel):
        text = value.model_dump_json()
        json.loads(text, parse_constant=pytest.fail)
        assert MARK not in text
        assert type(value).model_validate_json(text) == value


def hear(steps: Generator[HttpCall, HttpReply, object], reply: HttpReply) -> None:
    """Hold a conversation in which every reply is the same."""
    try:
        next(steps)
        for _ in range(MOST_CALLS):
            steps.send(reply)
    except StopIteration as end:
        is_kept(end.value)
        return
    except ControlNetError as error:
        is_clean(error)
        return
    raise AssertionError("the conversation has no end")


@pytest.mark.parametrize("name", HOSTED)
def test_a_mutated_reply_never_crashes_an_adapter(name: str) -> None:
    """Every conversation of every provider ends in a value that can be kept, or in an error of ours."""
    provider = adapter(READY[name])
    assert samples(name)

    @USUAL
    @given(which=st.integers(0, 400), edits=EDITS, status=STATUSES, cut=CUTS)
    def check(which: int, edits: list[Edit], status: int | None, cut: int | None) -> None:
        reply = mutated(name, which, edits, status=status, cut=cut)
        try:
            is_kept(provider.read(reply))
        except ControlNetError as error:
            is_clean(error)
        for steps in conversations(provider):
            hear(steps, reply)

    check()


class Hostile:
    """The world outside: an honest receipt and an honest end if there are such, then one reply to every call.

    Attributes:
        reply: What every other call is answered with, but Scenario's question for the address of a picture.
        behind_links: What every download brings.
    """

    def __init__(self, reply: HttpReply, behind_links: bytes, *, receipt: bool) -> None:
        """Take both, and whether the submission, and then a question for the status alone, are answered honestly."""
        self.reply = reply
        self.behind_links = behind_links
        simulation = SIMULATIONS[reply.provider]
        self._honest = [simulation.submitted, *filter(None, [simulation.ended])] if receipt else []

    def answer(self, sent: httpx2.Request) -> httpx2.Response:
        """Answer a call."""
        reply = recorded(self.reply.provider, "asset") if "/assets/" in sent.url.path else self.reply
        if self._honest:
            reply = recorded(self.reply.provider, self._honest.pop(0))
        return httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    async def fetch(self, _: str) -> bytes:
        """Bring what is behind a link."""
        await anyio.lowlevel.checkpoint()
        return self.behind_links


async def lived(provider: Provider, hostile: Hostile, blobs: BlobStore) -> int:
    """Take a job the whole way, and count the pictures that it ends with; each of them must decode.

    Raises:
        ControlNetError: It does not succeed.
    """
    runner = Sender(PictureSource(blobs), hostile.fetch, {provider.name: httpx2.MockTransport(hostile.answer)})
    request = next(row for row in requests(provider) if not provider.uploads(row))
    stored = request.model_dump_json().replace(PICTURE.sha256, blobs.put(PNG, "image/png"))
    request = ResolvedRequest.model_validate_json(stored)
    try:
        call = await runner.prepare(provider, request, "our-reference")
        answer = await runner.submit(provider, call, anyio.lowlevel.checkpoint)
        submission = await runner.kept(provider, answer)
        is_kept(submission)
        report = submission.report
        if report.phase in {"queued", "running"}:
            report = await runner.poll(provider, submission.task)
            is_kept(report)
        if report.phase != "succeeded":
            return 0
        collected = await download_results(record(provider, request, report.outputs), provider, runner, blobs)
        for image in collected.images:
            with Image.open(io.BytesIO(blobs.get(image.picture.sha256))) as picture:
                picture.load()
        if collected.missing is not None:
            is_clean(collected.missing)
        return len(collected.images)
    finally:
        await runner.aclose()


def record(provider: Provider, request: ResolvedRequest, outputs: tuple[Output, ...]) -> JobRecord:
    """A job whose pictures are to be downloaded."""
    return JobRecord(
        job_id="job_1",
        principal="tester",
        provider=provider.name,
        state="fetching",
        request=request,
        reference="our-reference",
        created_at=0,
        updated_at=0,
        deadline_at=0,
        outputs=outputs,
    )


@pytest.mark.parametrize("name", HOSTED)
@pytest.mark.parametrize("picture", [b"<html>gone</html>", PNG[:50], PNG], ids=["page", "half", "whole"])
def test_a_mutated_reply_never_succeeds_without_a_picture(name: str, picture: bytes, tmp_path: Path) -> None:
    """Behind every link is a page, half a picture, or a picture: only what decodes is stored and counts."""
    provider = adapter(READY[name])
    blobs = BlobStore(tmp_path)

    def ended(reply: HttpReply, *, receipt: bool) -> int:
        try:
            return anyio.run(lived, provider, Hostile(reply, picture, receipt=receipt), blobs)
        except ControlNetError as error:
            is_clean(error)
            return 0

    @settings(USUAL, max_examples=15)
    @given(which=st.integers(0, 400), edits=EDITS, receipt=st.booleans())
    def check(which: int, edits: list[Edit], *, receipt: bool) -> None:
        ended(mutated(name, which, edits, status=200, cut=None), receipt=receipt)

    check()
    assert bool(ended(recorded(name, SIMULATIONS[name].finished), receipt=True)) == (picture == PNG)


@pytest.mark.parametrize("name", HOSTED)
def test_without_the_decoder_half_a_picture_would_be_a_result(name: str, tmp_path: Path) -> None:
    """The control switched off: with a decoder that takes everything, half a picture is stored and counts."""

    def credulous(_: bytes, __: Limits) -> Rgb:
        return np.zeros((8, 8, 3), dtype=np.uint8)

    hostile = Hostile(recorded(name, SIMULATIONS[name].finished), PNG[:50], receipt=True)
    blobs = BlobStore(tmp_path, credulous)
    with pytest.raises(OSError, match="truncated"):
        anyio.run(lived, adapter(READY[name]), hostile, blobs)
