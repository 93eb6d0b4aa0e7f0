"""Lines that are no messages: each is answered where it can be, with its id where that can be found."""

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import mcp_types as types
import pytest
from anyio import fail_after
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from controlnet_mcp.server.mcp.messages import Message, Unreadable, in_one_line, recovered, well_formed
from tests.server.test_transports_pipe import HANDSHAKE
from tests.support.server_process import MODERN_META, Pipe, Place, piped

pytestmark = pytest.mark.anyio
USUAL = settings(max_examples=200, deadline=None)
DEEP = 3000
REQUEST: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": MODERN_META}}


def read(line: bytes) -> list[Message | Unreadable]:
    """The messages of a line, as the server reads it."""
    message = well_formed(line)
    return list(recovered(line)) if message is None else [message]


def answer_to(line: bytes) -> dict[str, JsonValue]:
    """The one answer to a line that is no message."""
    (found,) = read(line)
    assert isinstance(found, Unreadable), found
    assert found.awaited is True
    answer: dict[str, JsonValue] = json.loads(found.answer)
    return answer


def code_of(answer: Mapping[str, JsonValue]) -> JsonValue:
    """The code of an error answer."""
    error = answer["error"]
    assert isinstance(error, dict)
    return error["code"]


def calling(arguments: str, request_id: str = "7") -> bytes:
    """A call whose arguments are raw text, its id after them."""
    start = '{"jsonrpc":"2.0","method":"tools/call","params":{"name":"list_jobs","arguments":'
    return f'{start}{arguments}}},"id":{request_id}}}\n'.encode()


def with_id(raw: str) -> bytes:
    """A request whose id is raw text."""
    return f'{{"jsonrpc":"2.0","id":{raw},"method":"ping"}}\n'.encode()


@pytest.mark.parametrize(
    ("line", "request_id", "code"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","argu', 7, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":"a\\"b","method":"tools/call","params":{"x', 'a"b', types.PARSE_ERROR),
        (b'{"id":7,"params":{"id":8,"text":"{\\"id\\": 9', 7, types.PARSE_ERROR),
        (b'{"params":{"id":8},"method":"id","x":[{"id":9}', None, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":7', None, types.PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":7,}', 7, types.PARSE_ERROR),
        (b"{'jsonrpc':'2.0','id':7}", None, types.PARSE_ERROR),
        (b"not json", None, types.PARSE_ERROR),
        (b"\x1f\x8b\x08\x00", None, types.PARSE_ERROR),
        ('{"jsonrpc":"2.0","id":7}'.encode("utf-16"), None, types.PARSE_ERROR),
        (calling("[" * DEEP + "]" * DEEP), 7, types.INVALID_REQUEST),
        (calling('{"a":' * DEEP + "1" + "}" * DEEP), 7, types.INVALID_REQUEST),
        (calling("[" * DEEP), None, None),
        (b"[" * 100_000, None, None),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}', 7, types.INVALID_PARAMS),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":"x"}', 7, types.INVALID_PARAMS),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', 7, types.INVALID_REQUEST),
        (b'{"id":7,"method":"ping"}', 7, types.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":7}', 7, types.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":7,"method":5}', 7, types.INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","method":5}', None, types.INVALID_REQUEST),
        (b"{}", None, types.INVALID_REQUEST),
        (b"5", None, types.INVALID_REQUEST),
        (b"null", None, types.INVALID_REQUEST),
        (b'"ping"', None, types.INVALID_REQUEST),
        (b"[]", None, types.INVALID_REQUEST),
        (b"[1]", None, types.INVALID_REQUEST),
        (with_id("1.5"), 1.5, types.INVALID_REQUEST),
        (with_id("null"), None, types.INVALID_REQUEST),
        (with_id("true"), None, types.INVALID_REQUEST),
        (with_id("[7]"), None, types.INVALID_REQUEST),
        (with_id("1e999"), None, types.INVALID_REQUEST),
        (with_id("NaN"), None, types.INVALID_REQUEST),
        (with_id("9" * 5000), None, None),
        (with_id(json.dumps("x" * 1_000_000)), None, types.INVALID_REQUEST),
        (json.dumps(REQUEST | {"method": "x" * 1_000_000}).encode(), 7, types.INVALID_REQUEST),
    ],
)
def test_a_line_that_is_no_message_is_answered(line: bytes, request_id: JsonValue, code: int | None) -> None:
    """C5, H6: cut off, too deep, params as a list, fractions for ids: an error, with the id of the message itself."""
    answer = answer_to(line)
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] == request_id
    assert code is None or code == code_of(answer)
    assert len(json.dumps(answer)) < 4000


@pytest.mark.parametrize(
    ("line", "awaited"),
    [
        (b"\n", []),
        (b" \t\r\n", []),
        (b"\0\0\n", []),
        (b"\xef\xbb\xbf\n", []),
        (b'{"jsonrpc":"2.0","method":"notifications/x","params":[1]}\n', [False]),
        (b'{"jsonrpc":"2.0","id":1,"result":5}\n', [False]),
        (b'{"jsonrpc":"2.0","id":1,"error":"no"}\n', [False]),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"x"},{"id":"b"},4]\n', [True, True]),
        (b"[" + b",".join([b'{"id":1}'] * 101) + b"]\n", [True]),
    ],
)
def test_nobody_is_answered_who_does_not_wait(line: bytes, awaited: list[bool]) -> None:
    """H6: a blank line is nothing, answers and notifications have no answer, a batch has one for each request in it."""
    assert [found.awaited for found in read(line) if isinstance(found, Unreadable)] == awaited
    assert len(read(line)) == len(awaited)


@pytest.mark.parametrize(
    ("line", "prompt"),
    [
        (calling('{"prompt":"a cat \\ud83d"}'), "a cat \ufffd"),
        (calling('{"prompt":"\\ude00 and \\ud83d\\ude00"}'), "\ufffd and \U0001f600"),
        (calling('{"prompt":"caf\u00e9"}').replace("\u00e9".encode(), b"\xe9"), "caf\ufffd"),
        (b"\xef\xbb\xbf" + calling('{"prompt":"x"}'), "x"),
        (b"\0" + calling('{"prompt":"x"}') + b"\0", "x"),
        (calling('{"prompt":"x"}').replace(b"\n", b"\r\n"), "x"),
        (calling('{"prompt":"\u2028"}'), "\u2028"),
    ],
)
def test_a_message_with_broken_text_is_read(line: bytes, prompt: str) -> None:
    """C5: where only the text of a message is broken, U+FFFD stands for what is lost, and the call goes on."""
    (message,) = read(line)
    assert isinstance(message, types.JSONRPCRequest)
    assert message.id == 7
    assert message.params is not None
    assert message.params["arguments"] == {"prompt": prompt}
    assert json.loads(message.model_dump_json())["id"] == 7


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.fixed_dictionaries(
    {}, optional={"jsonrpc": st.just("2.0") | JSON, "id": JSON, "method": JSON, "params": JSON, "result": JSON}
)


@USUAL
@given(FIELDS.map(json.dumps).map(str.encode) | st.binary(max_size=80), st.integers(0, 60), st.binary(max_size=3))
def test_any_line_is_a_message_or_has_an_answer_that_is_one(line: bytes, cut: int, more: bytes) -> None:
    """C5, H6: whatever comes, there is a message or a well-formed error, and a request never has two answers."""
    for text in (line, line[:cut], line[:cut] + more + line[cut:]):
        for found in read(text):
            if isinstance(found, Unreadable):
                answer = json.loads(found.answer)
                assert types.JSONRPCError.model_validate(answer | {"id": None}).error.message
                assert isinstance(answer["id"], str | int | float | None)
                assert len(found.answer) < 4000
            else:
                assert well_formed(found.model_dump_json(by_alias=True, exclude_unset=True).encode()) is not None


@USUAL
@given(JSON)
def test_what_is_sent_is_one_line_in_every_language(value: JsonValue) -> None:
    """C6: U+2028, U+2029 and U+0085 are escaped, and the value is the same."""
    text = in_one_line(json.dumps({"x": value, "ends": "\u0085\u2028\u2029"}, ensure_ascii=False))
    assert len(text.splitlines()) == 1
    assert not {"\u0085", "\u2028", "\u2029"} & set(text)
    again = json.loads(text)
    assert again["ends"] == "\u0085\u2028\u2029"
    assert json.dumps(again["x"]) == json.dumps(value)


@pytest.fixture
async def pipe(tmp_path: Path, pictures: Path) -> AsyncGenerator[Pipe]:
    """A running server, spoken to line by line."""
    with fail_after(55):
        async with piped(Place(tmp_path / "data", pictures), tmp_path / "stderr") as opened:
            yield opened


async def told(pipe: Pipe, line: bytes) -> dict[str, JsonValue]:
    """Send a raw line, and give the next line of the server."""
    assert pipe.process.stdin is not None
    await pipe.process.stdin.send(line)
    answer: dict[str, JsonValue] = json.loads(await pipe.lines.receive_until(b"\n", 1_000_000))
    return answer


LINES = [
    calling("[" * DEEP + "]" * DEEP),
    calling('{"prompt":"x')[:-9] + b"\n",
    b'{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[1]}\n',
    b"\xff\xfe\n",
    with_id("1.5"),
    b"[]\n",
    with_id(json.dumps("x" * 1_000_000)),
]


@pytest.mark.parametrize("opened", [True, False])
async def test_every_line_over_stdio_is_answered(pipe: Pipe, tmp_path: Path, *, opened: bool) -> None:
    """C5, H6: no client waits for ever, before its first request or after it; each line is one line in the log."""
    if opened:
        await pipe.request("initialize", HANDSHAKE)
    for line in LINES:
        assert "error" in await told(pipe, line)
    await pipe.send({"jsonrpc": "2.0", "method": "notifications/x", "params": {}})
    assert pipe.process.stdin is not None
    await pipe.process.stdin.send(b"\n\0\n\xef\xbb\xbf\n")
    last: dict[str, JsonValue] = {"jsonrpc": "2.0", "id": 8, "method": "ping"} if opened else REQUEST | {"id": 8}
    assert (await told(pipe, json.dumps(last).encode() + b"\n"))["id"] == 8
    log = (tmp_path / "stderr").read_text(encoding="utf-8")
    assert len(log.splitlines()) == len(LINES)
    assert "Traceback" not in log


async def drawn(pipe: Pipe, pictures: Path, **arguments: JsonValue) -> str:
    """The line that answers a call of `controlnet_generate`."""
    usual: dict[str, JsonValue] = {"control_image": str(pictures / "sketch.png"), "dry_run": True}
    params: dict[str, JsonValue] = {"_meta": MODERN_META, "name": "controlnet_generate", "arguments": usual | arguments}
    await pipe.send(REQUEST | {"method": "tools/call", "params": params})
    return (await pipe.lines.receive_until(b"\n", 1_000_000)).decode()


async def test_half_an_emoji_is_answered_over_stdio(pipe: Pipe, pictures: Path) -> None:
    """C5: a prompt that was cut in the middle of a character goes through, and the answer names it."""
    line = await drawn(pipe, pictures, prompt="a cat \ud83d")
    assert json.loads(line)["id"] == REQUEST["id"]
    assert "a cat \ufffd" in line
    assert "did not arrive whole" in line


async def test_line_ends_in_a_prompt_are_escaped_over_stdio(pipe: Pipe, pictures: Path) -> None:
    """C6: U+2028, U+2029 and U+0085 in a prompt do not break a line of the server in two."""
    line = await drawn(pipe, pictures, prompt="a\u2028b\u2029c\u0085d")
    assert len(line.splitlines()) == 1
    assert "\u2028" in json.dumps(json.loads(line), ensure_ascii=False)
