"""`doctor`: what is broken is told and ends with 1, what is merely not set up is not broken, secrets stay secret."""

import socket
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from controlnet_mcp.providers.registry import ProviderEntry, build_table
from controlnet_mcp.server import __version__
from controlnet_mcp.server.cli.doctor import check_provider
from controlnet_mcp.server.settings import Settings
from tests.server.test_cli import Terminal
from tests.support.attack_targets import answering


def row(report: str, what: str) -> str:
    """The line of a report about one thing."""
    (line,) = (line for line in report.splitlines() if line[7:].strip().startswith(what))
    return line


def test_a_new_installation_is_sound(tmp_path: Path) -> None:
    """No key, no job and no folder yet: nothing is broken."""
    ended = Terminal(tmp_path / "data").run("doctor")
    assert ended.exit_code == 0
    assert __version__ in row(ended.stdout, "version")
    assert "not an AI model" in row(ended.stdout, "provider draft")
    assert "CONTROLNET_MCP_DATA_DIR" in row(ended.stdout, "variables")
    for library in ("numpy", "opencv-python-headless", "pillow", "mcp"):
        assert row(ended.stdout, library).startswith("ok")


def test_secrets_are_named_but_not_told(tmp_path: Path) -> None:
    """A report can be pasted into an issue."""
    nobody = {"SEGMIND_BASE_URL": "http://127.0.0.1:9"}
    keys = {"SEGMIND_API_KEY": "sk-secret", "SCENARIO_API_SECRET": "also-secret"}
    ended = Terminal(tmp_path, keys | nobody).run("doctor")
    assert "SEGMIND_API_KEY" in ended.stdout
    assert "sk-secret" not in ended.output
    assert "also-secret" not in ended.output


def test_a_data_folder_that_cannot_be_written_is_broken(tmp_path: Path) -> None:
    """The report says what to set."""
    (tmp_path / "file").write_bytes(b"")
    ended = Terminal(tmp_path / "file" / "data").run("doctor")
    assert ended.exit_code == 1
    assert "CONTROLNET_MCP_DATA_DIR" in row(ended.stdout, "data folder")
    assert row(ended.stdout, "data folder").startswith("BROKEN")
    assert "data folder" in ended.stderr


def test_a_damaged_database_is_told_plainly(tmp_path: Path) -> None:
    """And left as it is."""
    garbage = b"this is no database at all, whatever its name says" * 100
    (tmp_path / "jobs.sqlite3").write_bytes(garbage)
    ended = Terminal(tmp_path).run("doctor")
    assert ended.exit_code == 1
    assert "damaged" in row(ended.stdout, "job database")
    assert (tmp_path / "jobs.sqlite3").read_bytes() == garbage


def test_jobs_are_counted(tmp_path: Path, pictures: Path) -> None:
    """A sound database says how many it holds."""
    terminal = Terminal(tmp_path)
    terminal.run("generate", "a house", pictures / "photo.png", "--width", "64", "--json")
    assert "1 jobs" in row(terminal.run("doctor").stdout, "job database")


def test_a_missing_folder_is_noted_only_where_it_was_named(tmp_path: Path) -> None:
    """Nobody has to have a Pictures folder."""
    report = Terminal(tmp_path, {"CONTROLNET_MCP_ALLOWED_DIRS": str(tmp_path / "nowhere")}).run("doctor")
    assert row(report.stdout, "allowed folder").startswith("note")
    assert report.exit_code == 0
    lines = Terminal(tmp_path).run("doctor").stdout.splitlines()
    assert {line.split()[0] for line in lines if "allowed folder" in line} == {"ok"}


def draft(base_url: str) -> ProviderEntry:
    """The draft provider as if it were somewhere on the network."""
    (entry,) = (entry for entry in build_table(Settings().keys) if entry.name == "draft")
    assert entry.provider is not None
    entry.provider.base_url = base_url
    return entry


@pytest.mark.anyio
async def test_a_provider_without_a_key_is_not_broken() -> None:
    """It is noted, with the variable to set."""
    found = await check_provider(replace(draft(""), provider=None, missing=("EXAMPLE_API_KEY",)))
    assert (found.state, found.detail) == ("note", "not ready: set EXAMPLE_API_KEY")


@pytest.mark.anyio
async def test_a_provider_that_answers_is_reachable() -> None:
    """A connection is enough; nothing is sent, and what stands before the host is not told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = await check_provider(draft(f"http://user:sk-secret@127.0.0.1:{port}"))
    assert found.state == "ok"
    assert found.detail.endswith(f"http://127.0.0.1:{port} answers")


@pytest.mark.anyio
async def test_a_provider_that_cannot_be_reached_is_broken() -> None:
    """It was configured, so somebody expects it to work."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = await check_provider(draft(f"http://127.0.0.1:{port}"))
    assert found.state == "broken"
    assert "cannot be reached" in found.detail


def resolving(patch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses; without any, none is known."""

    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    patch.setattr(anyio, "getaddrinfo", answering(addresses) if addresses else unknown)


@pytest.mark.parametrize(
    ("address", "listed"),
    [("198.18.0.5", "198.18.0.0/15"), ("fc00::5", "fc00::/18"), ("fdfe:dcba:9876::5", "fdfe:dcba:9876::/48")],
)
def test_d1_stand_in_addresses_are_noted_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, listed: str
) -> None:
    """D1: a proxy that answers for the name server is named; once it is allowed, nothing is left to do."""
    resolving(monkeypatch, address)
    told = row(Terminal(tmp_path).run("doctor").stdout, "names")
    assert told.startswith("note")
    assert "Clash" in told
    assert f"CONTROLNET_MCP_STAND_IN_ADDRESSES={listed}" in told
    allowed = Terminal(tmp_path, {"CONTROLNET_MCP_STAND_IN_ADDRESSES": listed}).run("doctor").stdout
    assert row(allowed, "names").startswith("ok")
    resolving(monkeypatch, "93.184.216.34")
    assert row(Terminal(tmp_path).run("doctor").stdout, "names").startswith("ok")


def test_d2_a_proxy_without_direct_names_is_noted_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D2: what HTTPS_PROXY is used for and what not; with the setting it is used for links too."""
    resolving(monkeypatch)
    proxy = {"HTTPS_PROXY": "http://someone:sk-secret@127.0.0.1:9"}
    report = Terminal(tmp_path, proxy).run("doctor")
    assert row(report.stdout, "names").startswith("note")
    told = row(report.stdout, "proxy of links")
    assert told.startswith("note")
    assert "HTTPS_PROXY" in told
    assert "CONTROLNET_MCP_FETCH_PROXY=environment" in told
    assert report.exit_code == 0
    through = Terminal(tmp_path, {**proxy, "CONTROLNET_MCP_FETCH_PROXY": "environment"}).run("doctor")
    assert row(through.stdout, "proxy of links").startswith("ok")
    assert "sk-secret" not in report.output + through.output
    nowhere = Terminal(tmp_path, {"CONTROLNET_MCP_FETCH_PROXY": "environment"}).run("doctor")
    assert row(nowhere.stdout, "proxy of links").startswith("note")


@pytest.mark.anyio
async def test_d2_a_provider_behind_a_proxy_is_reached_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """D2: its name is not looked up here, where only the proxy knows names; the proxy is what has to answer."""
    entry = draft("https://provider.example")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for proxy in (f"http://someone:sk-secret@127.0.0.1:{port}", f"127.0.0.1:{port}"):
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            found = await check_provider(entry)
            assert (found.state, "sk-secret" in found.detail) == ("ok", False)
            assert f"the proxy http://127.0.0.1:{port}" in found.detail
    found = await check_provider(entry)
    assert found.state == "broken"
    assert "proxy" in found.detail
