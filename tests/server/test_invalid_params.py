"""Requests whose parameters are not right: invalid parameters, with the name of what is wrong, in both eras."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import mcp_types as types
import pytest
from pydantic import JsonValue

from controlnet_mcp.server.settings import Settings
from controlnet_mcp.tools import TOOLS
from tests.support.raw_messages import Wire, open_wire

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["auto", "legacy"])
async def wire(request: pytest.FixtureRequest, settings: Settings) -> AsyncGenerator[Wire]:
    """A connection of each era of the protocol."""
    async with open_wire(settings, request.param) as opened:
        yield opened


PROMPT: dict[str, JsonValue] = {"type": "ref/prompt", "name": "restyle"}
TEMPLATE: dict[str, JsonValue] = {"type": "ref/resource", "uri": "controlnet://jobs/{job_id}"}
TYPED: dict[str, JsonValue] = {"name": "modality", "value": "dep"}


@pytest.mark.parametrize(
    ("method", "params", "named"),
    [
        ("tools/call", {}, "'name'"),
        ("tools/call", {"name": 5}, "'name'"),
        ("tools/call", {"name": "list_jobs", "arguments": 5}, "'arguments'"),
        ("tools/call", {"name": "list_jobs", "arguments": [1]}, "'arguments'"),
        ("tools/call", {"name": "list_jobs", "arguments": "canny"}, "'arguments'"),
        ("tools/call", {"name": "list_jobs", "arguments": "[1]"}, "'arguments'"),
        ("tools/call", {"name": "list_jobs", "arguments": "[" * 5000}, "'arguments'"),
        ("prompts/get", {}, "'name'"),
        ("prompts/get", {"name": "restyle", "arguments": {"image": 5}}, "'arguments.image'"),
        ("resources/read", {}, "'uri'"),
        ("resources/read", {"uri": None}, "'uri'"),
        ("resources/read", {"uri": ["x"]}, "'uri'"),
        ("completion/complete", {"ref": PROMPT}, "'argument'"),
        ("completion/complete", {"ref": PROMPT, "argument": {"name": "image"}}, "argument.value'"),
        ("completion/complete", {"argument": TYPED}, "'ref"),
        ("completion/complete", {"ref": {"type": "ref/prompt"}, "argument": TYPED}, "name'"),
    ],
)
async def test_a_parameter_that_is_not_right_is_named(
    wire: Wire, method: str, params: dict[str, JsonValue], named: str
) -> None:
    """H11: a missing parameter, or one of the wrong type, is told by its name, in both eras."""
    error = await wire.error(method, params)
    assert error.code == types.INVALID_PARAMS
    assert named in error.message
    assert "pydantic" not in error.message
    assert len(error.message) < 300


@pytest.mark.parametrize("method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"])
async def test_a_cursor_that_no_list_gave_is_refused(wire: Wire, method: str) -> None:
    """H11: a garbage cursor is no first page; none, or an empty one, is."""
    for cursor in ("garbage", "1", "x" * 100_000, "\0"):
        error = await wire.error(method, {"cursor": cursor})
        assert (error.code, "cursor" in error.message) == (types.INVALID_PARAMS, True)
    assert await wire.result(method, {"cursor": ""}) == await wire.result(method, {})


@pytest.mark.parametrize("cursor", ["garbage", "5", "inf", "nan", "1.5~", "~job_1", "1.5~job_1~", "x" * 100_000])
async def test_a_cursor_that_no_page_of_jobs_gave_is_refused(wire: Wire, cursor: str) -> None:
    """H11: the tool for lists of jobs names the cursor that it did not give."""
    result = await wire.result("tools/call", {"name": "list_jobs", "arguments": {"cursor": cursor}})
    assert result["isError"]
    assert f"The cursor '{cursor[:20]}" in json.dumps(result)


@pytest.mark.parametrize(
    "uri",
    ["jobs", "modalities", "/jobs", "://jobs", "controlnet:jobs", "controlnet:/jobs", "https://jobs", "", "file:"],
)
async def test_a_resource_without_our_scheme_is_refused(wire: Wire, uri: str) -> None:
    """H11: a URI without a scheme, or with a foreign one, is not read as one of ours, and the error shows one."""
    error = await wire.error("resources/read", {"uri": uri})
    assert error.code == types.INVALID_PARAMS
    assert f"{uri!r}" in error.message
    assert "controlnet://" in error.message
    assert await wire.result("resources/read", {"uri": "controlnet://jobs"})


@pytest.mark.parametrize(
    "uri",
    [
        "controlnet://modalities",
        "controlnet://jobs",
        "jobs/job_1",
        "controlnet://jobs/job_1/images/0",
        "x",
        "",
        "a://b",
    ],
)
async def test_only_jobs_can_be_followed(wire: Wire, uri: str) -> None:
    """H11: whoever subscribes to something that is no job is told so, in both eras."""
    modern = wire.era == "auto"
    listening: dict[str, JsonValue] = {"notifications": {"resourceSubscriptions": [uri]}}
    method, params = ("subscriptions/listen", listening) if modern else ("resources/subscribe", {"uri": uri})
    error = await wire.error(method, params)
    assert error.code == types.INVALID_PARAMS
    assert "only jobs can be followed" in error.message
    assert f"{uri!r}" in error.message


@pytest.mark.parametrize(
    "ref",
    [
        {"type": "ref/prompt", "name": "restyl"},
        {"type": "ref/prompt", "name": ""},
        {"type": "ref/resource", "uri": "controlnet://nothing/{x}"},
        {"type": "ref/resource", "uri": "jobs/{job_id}"},
        {"type": "ref/resource", "uri": "file:///etc/passwd"},
        {"type": "ref/prompt", "name": "x" * 100_000},
    ],
)
async def test_an_unknown_thing_is_not_completed(wire: Wire, ref: dict[str, JsonValue]) -> None:
    """H11: completion for a prompt or a resource that is not there is refused with its name."""
    error = await wire.error("completion/complete", {"ref": ref, "argument": TYPED})
    assert error.code == types.INVALID_PARAMS
    assert str(ref.get("name", ref.get("uri")))[:40] in error.message
    assert len(error.model_dump_json()) < 4000


async def test_what_is_there_is_completed(wire: Wire) -> None:
    """A template, a template that is filled in, a resource and a prompt are all known."""
    for uri in ("controlnet://jobs/{job_id}", "controlnet://jobs/job_1/images/0", "controlnet://modalities"):
        ref: dict[str, JsonValue] = {"type": "ref/resource", "uri": uri}
        assert "depth" in json.dumps(await wire.result("completion/complete", {"ref": ref, "argument": TYPED}))
    assert await wire.result("completion/complete", {"ref": PROMPT, "argument": {"name": "look", "value": ""}})


@pytest.mark.parametrize("given", ['{"limit": 1}', '{"limit": "1"}', "", "  ", [], None, {}])
async def test_arguments_as_text_are_read(wire: Wire, given: JsonValue) -> None:
    """C5: arguments as JSON text are the object that they hold, and nothing in any form is no arguments."""
    result = await wire.result("tools/call", {"name": "list_jobs", "arguments": given})
    assert not result.get("isError")


async def test_half_a_character_inside_arguments_as_text_is_no_harm(wire: Wire) -> None:
    """C5: text inside text is repaired, too."""
    result = await wire.result("tools/call", {"name": "job_status", "arguments": '{"job_id": "\\ud83d"}'})
    assert "\ufffd" in json.dumps(result, ensure_ascii=False)


async def test_a_progress_token_that_is_null_is_none(wire: Wire) -> None:
    """C5: `progressToken: null` means that no progress is asked for."""
    params: dict[str, JsonValue] = {"name": "list_jobs", "arguments": {}, "_meta": {"progressToken": None}}
    assert not (await wire.result("tools/call", params)).get("isError")


def nested(levels: int) -> JsonValue:
    """Lists inside of each other."""
    value: JsonValue = 1
    for _ in range(levels):
        value = [value]
    return value


ODD: dict[str, JsonValue] = {
    "digits": 10**5000,
    "negative": -(10**5000),
    "nan": float("nan"),
    "half": "\ud83d",
    "half a name": {"\ud83d": 1},
    "deep": nested(190),
    "too deep": nested(900),
    "nul": "\0",
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
async def test_an_odd_value_is_no_fault_of_the_server(wire: Wire, pictures: Path, value: JsonValue) -> None:
    """C5, H10: half a character, NaN, 5000 digits and 900 levels in any argument are never our fault."""
    picture = str(pictures / "sketch.png")
    usual: dict[str, dict[str, JsonValue]] = {
        "controlnet_generate": {"prompt": "x", "control_image": picture},
        "extract_control_map": {"image": picture},
    }
    for tool in TOOLS:
        for name in tool.arguments.model_fields:
            dry: dict[str, JsonValue] = {"dry_run": True} if tool.name == "controlnet_generate" else {}
            arguments = usual.get(tool.name, {}) | {name: value} | dry
            answer = await wire.ask("tools/call", {"name": tool.name, "arguments": arguments})
            if isinstance(answer, types.JSONRPCError):
                assert answer.error.code == types.INVALID_PARAMS
            assert "itself failed" not in repr(answer)
