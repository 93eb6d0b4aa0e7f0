"""`dry_run`: what would be sent and what it would cost, and nothing else."""

import json

import pytest
from pydantic import JsonValue

from tests.support.mcp_session import SIDE, Session

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]


async def test_a_dry_run_makes_no_job(session: Session) -> None:
    """Nothing is written and nothing is sent."""
    await session.generate(dry_run=True)
    listed = await session.call("list_jobs")
    assert json.loads(listed.text)["jobs"] == []


async def test_a_dry_run_shows_request_price_and_warnings(session: Session) -> None:
    """The shape is the promised one, as text and as structured content."""
    reply = await session.generate(dry_run=True, seed=5, steps=20)
    shown = json.loads(reply.text)
    assert reply.result.structured_content == shown
    assert set(shown) == {"dry_run", "provider", "request", "price", "warnings"}
    assert (shown["dry_run"], shown["provider"]) == (True, "draft")
    assert set(shown["request"]) == {"method", "url", "headers", "json"}
    assert shown["price"]["amount"] == 0
    assert "steps" in [row["feature"] for row in shown["warnings"]]
    body = shown["request"]["json"]
    assert (body["prompt"], body["seed"], body["width"], body["height"]) == ("an oil painting", 5, SIDE, SIDE)


async def test_a_dry_run_shows_exactly_what_is_sent(session: Session) -> None:
    """But for the reference, the request of the real job with the same arguments is the same."""
    arguments: dict[str, JsonValue] = {"seed": 5, "modality": "canny:0.5", "negative_prompt": "blue"}
    shown = json.loads((await session.generate(dry_run=True, **arguments)).text)["request"]["json"]
    job = (await session.generate(**arguments)).job
    record = await session.application.services.jobs.store.get(job.job_id, "local")
    assert record.task is not None
    sent = json.loads(record.task.state["ticket"])
    assert {key: value for key, value in sent.items() if key in shown} == shown | {"reference": record.reference}


async def test_a_dry_run_finds_the_same_faults(session: Session) -> None:
    """What could never be sent is refused in a dry run, too."""
    wrong: dict[str, JsonValue] = {"modality": "cany"}
    dry, real = [(await session.generate(dry_run=dry, **wrong)).error for dry in (True, False)]
    assert dry == real
    assert dry.code == "invalid_request"


async def test_a_dry_run_does_not_use_up_a_request_key(session: Session) -> None:
    """The key belongs to the job that is bought with it."""
    await session.generate(dry_run=True, request_key="k")
    job = (await session.generate(request_key="k")).job
    assert job.status == "succeeded"
