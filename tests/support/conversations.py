"""Conversations with adapters without a network: recorded replies, and the calls that an adapter makes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from controlnet_mcp.providers.http import HttpCall, HttpReply, Steps

FOLDER = Path(__file__).with_name("replies")
ResultT = TypeVar("ResultT")


class Sample(BaseModel):
    """A recorded reply; a body that is text stands for bytes that are no JSON."""

    model_config = ConfigDict(extra="ignore")

    status: int
    headers: dict[str, str] = {}
    body: JsonValue = None


def recorded(provider: str, name: str) -> HttpReply:
    """A recorded reply as it is."""
    sample = Sample.model_validate_json((FOLDER / provider / f"{name}.json").read_bytes())
    content = sample.body if isinstance(sample.body, str) else json.dumps(sample.body)
    return HttpReply(provider, sample.status, lower(sample.headers), content.encode())


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    """Header fields as a reply has them, with names in lower case."""
    return {name.lower(): value for name, value in headers.items()}


def held(steps: Steps[ResultT], *replies: HttpReply) -> tuple[ResultT, list[HttpCall]]:
    """Hold a conversation with these replies to its end; gives its result and the calls.

    Replies that are not asked for any more stay unused.
    """
    calls: list[HttpCall] = []
    try:
        calls.append(next(steps))
        for reply in replies:
            calls.append(steps.send(reply))  # noqa: PERF401  # its end must not be lost in a generator
    except StopIteration as end:
        result: ResultT = end.value
        return result, calls
    raise AssertionError("the conversation goes on")
