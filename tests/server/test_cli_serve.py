"""Serving from the command line: stdout belongs to the protocol, the URL goes to stderr."""

import json
import signal
import socket
import urllib.request
from pathlib import Path

import httpx2
import pytest

from tests.server.test_cli import TIMEOUT_SECONDS, Terminal
from tests.support.asgi_client import ACCEPT, ALICE, bearing, write_tokens

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal with an empty data folder."""
    return Terminal(tmp_path / "data")


@pytest.mark.parametrize("words", [(), ("serve",)], ids=["without words", "serve"])
def test_stdio_is_served_until_stdin_closes(terminal: Terminal, words: tuple[str, ...]) -> None:
    """Every line on stdout is a message of the protocol."""
    with terminal.start(*words) as program:
        stdout, stderr = program.communicate(f"{json.dumps(INITIALIZE)}\n", timeout=TIMEOUT_SECONDS)
    (answer,) = map(json.loads, stdout.splitlines())
    assert answer["result"]["serverInfo"]["name"] == "controlnet"
    assert (program.returncode, stderr) == (0, "")


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
def test_http_is_served_at_the_url_that_is_told(tmp_path: Path, transport: str) -> None:
    """Either name starts both endpoints; Ctrl-C ends it quietly."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    terminal = Terminal(tmp_path, {"CONTROLNET_MCP_LOG_LEVEL": "INFO"})
    with terminal.start("serve", "--transport", transport, "--port", port) as program:
        assert program.stderr is not None
        told = program.stderr.readline()
        assert {f"http://127.0.0.1:{port}/mcp", f"http://127.0.0.1:{port}/sse"} <= set(told.replace(")", " ").split())
        while "running on" not in program.stderr.readline():
            assert program.poll() is None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_SECONDS) as answer:
            assert json.load(answer)["status"] == "ok"
        program.send_signal(signal.SIGINT)
        stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    assert (program.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr


def test_a_taken_port_is_told_in_a_sentence(terminal: Terminal) -> None:
    """Before anything is opened."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = terminal.run("serve", "--transport", "sse", "--port", str(taken.getsockname()[1]))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "--port" in ended.stderr


@pytest.mark.parametrize(
    "words", [("--port", "8000"), ("--host", "127.0.0.1"), ("--transport", "stdio", "--port", "9000")]
)
def test_f9_a_port_without_a_transport_is_told(terminal: Terminal, words: tuple[str, ...]) -> None:
    """F9: nobody waits for a page on a port that nothing listens on."""
    ended = terminal.run("serve", *words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "--transport streamable-http" in ended.stderr


def test_others_are_served_when_they_say_who_they_are(tmp_path: Path) -> None:
    """With a file of tokens the same address is listened on, and opens for their bearers only."""
    with socket.create_server(("127.0.0.2", 0)) as probe:
        port = str(probe.getsockname()[1])
    tokens = {
        "CONTROLNET_MCP_TOKENS_FILE": str(write_tokens(tmp_path / "tokens")),
        "CONTROLNET_MCP_ALLOWED_HOSTS": "127.0.0.2:*",
        "CONTROLNET_MCP_LOG_LEVEL": "INFO",
    }
    terminal = Terminal(tmp_path / "data", tokens)
    with terminal.start("serve", "--transport", "sse", "--host", "127.0.0.2", "--port", port) as program:
        assert program.stderr is not None
        while "running on" not in program.stderr.readline():
            assert program.poll() is None
        statuses = [posted(f"http://127.0.0.2:{port}/mcp", token) for token in (None, "x" * 40, ALICE)]
        program.send_signal(signal.SIGINT)
        program.communicate(timeout=TIMEOUT_SECONDS)
    assert statuses == [401, 401, 200]


def posted(url: str, token: str | None) -> int:
    """The status of the first message of a client."""
    with httpx2.Client(headers=ACCEPT | bearing(token), timeout=TIMEOUT_SECONDS) as client:
        return client.post(url, json=INITIALIZE).status_code


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])  # noqa: S104  # refused
def test_nobody_else_is_served(terminal: Terminal, host: str) -> None:
    """An address that others reach is refused while there is no authentication."""
    ended = terminal.run("serve", "--transport", "streamable-http", "--host", host)
    assert ended.exit_code == 1
    assert "Refusing to listen" in ended.stderr
