"""The environment at the doors: what a wrong or half-filled one does to a server, to a command and to `doctor`."""

import json
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from controlnet_mcp.providers.registry import is_secret, provider_variables
from controlnet_mcp.server.settings import PREFIX, Settings
from controlnet_mcp.tools.extract_control_map import MapView
from controlnet_mcp.tools.list_modalities import ModalityList
from tests.server.test_cli import TIMEOUT_SECONDS, Terminal
from tests.server.test_cli_serve import INITIALIZE
from tests.support.mcp_session import open_session

KEY = "SG_0123456789abcdef"
LIST_TOOLS = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def ready(terminal: Terminal) -> tuple[set[str], str]:
    """The providers that are ready, and what was told on stderr."""
    ended = terminal.run("modalities", "--json")
    assert ended.exit_code == 0, ended.output
    listed = ModalityList.model_validate_json(ended.stdout)
    return {row.name for row in listed.providers if row.ready}, ended.stderr


@pytest.mark.parametrize(
    "value", ["${user_config.key}", "${SEGMIND_API_KEY}", "YOUR_API_KEY", "<key>", "sk-xxxx", "null"]
)
def test_c3_a_provider_with_a_placeholder_is_not_ready(tmp_path: Path, value: str) -> None:
    """C3: a placeholder in the place of a key counts as not set, with a note on stderr that does not repeat it."""
    names, told = ready(Terminal(tmp_path, {"SEGMIND_API_KEY": value}))
    assert names == {"draft"}
    assert told == "note: SEGMIND_API_KEY holds a placeholder in the place of a value: it counts as not set.\n"


@pytest.mark.parametrize("value", [f'"{KEY}"', f"'{KEY}'", f"{KEY}\r", f"{KEY}\n", f" {KEY} ", f"“{KEY}”\r\n"])
def test_c3_quotes_and_line_ends_around_a_key_are_taken_off(
    tmp_path: Path, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C3: what a copied key brings along is no part of it."""
    names, told = ready(Terminal(tmp_path, {"SEGMIND_API_KEY": value}))
    assert (names, told) == ({"segmind", "draft"}, "")
    monkeypatch.setenv("SEGMIND_API_KEY", value)
    assert Settings().keys["SEGMIND_API_KEY"].get_secret_value() == KEY


@pytest.mark.parametrize(("character", "name"), [("\u200b", "U+200B"), ("\u0430", "U+0430"), ("\ufeff", "U+FEFF")])
def test_c3_a_key_with_a_foreign_character_does_not_end_the_server(tmp_path: Path, character: str, name: str) -> None:
    """C3: the provider counts as not configured, "copy it again" is on stderr, and the tools are listed."""
    terminal = Terminal(tmp_path / "data", {"SEGMIND_API_KEY": f"{KEY}{character}{KEY}", "FAL_KEY": "0a1b:2c3d"})
    names, told = ready(terminal)
    assert names == {"fal", "draft"}
    assert told == f"note: SEGMIND_API_KEY holds {name}: copy it again. Until then it counts as not set.\n"
    assert "controlnet_generate" in tools_of(terminal)


def tools_of(terminal: Terminal, *without: str) -> list[str]:
    """The tools that a server over stdio lists, which starts with an environment that lacks some variables."""
    lines = "".join(f"{json.dumps(message)}\n" for message in (INITIALIZE, INITIALIZED, LIST_TOOLS))
    started = Terminal(terminal.data_dir, {**terminal.more, **dict.fromkeys(without)})
    with started.start() as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(lines)
        program.stdin.flush()
        answers = [json.loads(program.stdout.readline()) for _ in range(2)]
        _, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    assert program.returncode == 0, stderr
    assert "Traceback" not in stderr
    return [tool["name"] for tool in answers[1]["result"]["tools"]]


def test_c3_doctor_names_what_counts_as_not_set(tmp_path: Path) -> None:
    """C3: placeholders, foreign characters, and the providers that lack a key because of them; no value is shown."""
    wrong = {"SEGMIND_API_KEY": "YOUR_API_KEY", "FAL_KEY": f"{KEY}\u200b", f"{PREFIX}PUBLIC_URL": "${user_config.url}"}
    report = Terminal(tmp_path, wrong).run("doctor")
    notes = [line for line in report.stdout.splitlines() if re.match(r"note +variable ", line)]
    assert {line.split()[2] for line in notes} == set(wrong)
    assert "FAL_KEY holds U+200B: copy it again" in report.stdout
    assert "not ready: set SEGMIND_API_KEY" in report.stdout
    assert KEY not in report.output


def test_c3_no_folder_is_called_like_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C3: an optional folder that was left empty in a host's form is the default."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    terminal = Terminal(
        tmp_path, {f"{PREFIX}DATA_DIR": "${user_config.data}", f"{PREFIX}ALLOWED_DIRS": "${user_config.dirs}"}
    )
    assert terminal.run("jobs").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


WRONG = {
    f"{PREFIX}LOG_LEVEL": "loud",
    f"{PREFIX}PROVIDERS": "foo",
    f"{PREFIX}MAX_COST_PER_DAY": "foo=5",
    f"{PREFIX}WAIT_SECONDS": "soon",
    f"{PREFIX}OAUTH_ISSUER": "https://login.example",
    f"{PREFIX}PUBLIC_URL": "pictures.example",
    "MODELSLAB_PLAN": "golden",
    "SEGMIND_BASE_URL": "api.segmind.com",
}
FIELDS_TOLD_BY_ANOTHER = {f"{PREFIX}OAUTH_ISSUER": "OAUTH_ISSUER, OAUTH_RESOURCE and OAUTH_JWKS_URL belong together"}


@pytest.mark.parametrize(
    "words", [(), ("serve", "--transport", "streamable-http"), ("serve", "--transport", "sse"), ("jobs",)]
)
def test_c4_all_wrong_settings_are_told_in_one_sentence(tmp_path: Path, words: tuple[str, ...]) -> None:
    """C4: over every transport as at the command line: one line on stderr, exit code 1, no traceback."""
    with Terminal(tmp_path, WRONG).start(*words) as program:
        stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    assert (program.returncode, stdout) == (1, "")
    assert stderr.startswith("Error: The environment is not right.")
    assert len(stderr.splitlines()) == 1
    for name in WRONG:
        assert FIELDS_TOLD_BY_ANOTHER.get(name, name) in stderr
    for value in ("soon", "golden", "loud", "pictures.example"):
        assert value not in stderr


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_c4_each_wrong_setting_is_told_alone(tmp_path: Path, name: str, value: str) -> None:
    """C4: the variable, and what it should be."""
    ended = Terminal(tmp_path, {name: value}).run("jobs")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert FIELDS_TOLD_BY_ANOTHER.get(name, name) in ended.stderr
    assert re.search(r"should be|belong together|unknown providers", ended.stderr)
    assert len(ended.stderr.splitlines()) == 1


def test_c4_case_and_semicolons_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """C4: names of providers and levels in any case, lists with semicolons."""
    for name, value in {
        "PROVIDERS": "Scenario; FAL",
        "LOG_LEVEL": "debug",
        "MAX_COST_PER_DAY": "FAL=5;Jobs=2",
        "TRUSTED_HOSTS": "a.example;b.example:80",
        "PREVIEWS": "OFF",
    }.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    read = Settings()
    assert (read.providers, read.log_level, read.previews) == (("scenario", "fal"), "DEBUG", False)
    assert read.max_cost_per_day == {"fal": 5, "jobs": 2}
    assert read.trusted_hosts == {"a.example", "b.example:80"}


def test_c4_an_unknown_provider_is_told_with_the_known_ones(tmp_path: Path) -> None:
    """C4: and with the one that may be meant."""
    ended = Terminal(tmp_path, {f"{PREFIX}PROVIDERS": "scenari,fal"}).run("jobs")
    assert "names unknown providers (scenari). Did you mean scenario? Known: scenario, segmind" in ended.stderr


def test_c4_a_key_that_went_astray_is_not_shown(tmp_path: Path) -> None:
    """C4: whatever setting it was put into."""
    for field in Settings.model_fields.keys() - {"keys", "data_dir"}:
        ended = Terminal(tmp_path, {f"{PREFIX}{field.upper()}": f"{KEY}={KEY}"}).run("jobs")
        assert KEY not in ended.output


def test_c4_a_misspelt_name_is_pointed_out(tmp_path: Path) -> None:
    """C4: by a note on stderr, and by doctor, which also knows the variables of providers."""
    terminal = Terminal(tmp_path, {f"{PREFIX}ALOWED_DIRS": "/x", "FAL_API_KEY": KEY})
    said = f"{PREFIX}ALOWED_DIRS is not read: did you mean {PREFIX}ALLOWED_DIRS?"
    assert terminal.run("jobs").stderr == f"note: {said}\n"
    report = terminal.run("doctor")
    assert said in report.stdout
    assert "FAL_API_KEY is not read: did you mean FAL_KEY?" in report.stdout
    assert KEY not in report.output


@pytest.mark.parametrize("more", [{f"{PREFIX}TOKENS_FILE": "/nowhere"}, {f"{PREFIX}DATA_DIR": "/dev/null/data"}])
def test_c4_no_address_is_told_before_all_settings_are_right(tmp_path: Path, more: dict[str, str]) -> None:
    """C4: what is only noticed at the start of a server over HTTP is one sentence, too."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    with Terminal(tmp_path, more).start("serve", "--transport", "sse", "--port", port) as program:
        stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    assert (program.returncode, stdout) == (1, "")
    assert stderr.splitlines()[-1].startswith("Error: ")
    assert "Serving" not in stderr
    assert "Traceback" not in stderr


def test_c4_the_data_folder_is_refused_over_stdio_in_a_sentence(tmp_path: Path) -> None:
    """C4: also where the server only notices when it has begun: no traceback of a group of tasks."""
    (tmp_path / "file").write_bytes(b"")
    terminal = Terminal(tmp_path / "file" / "data", {f"{PREFIX}PUBLIC_URL": "https://pictures.example"})
    with terminal.start() as program:
        stdout, stderr = program.communicate(timeout=TIMEOUT_SECONDS)
    assert (program.returncode, stdout) == (1, "")
    assert stderr.startswith("Error: ")
    assert len(stderr.splitlines()) == 1
    assert f"{PREFIX}DATA_DIR" in stderr


@pytest.mark.anyio
@pytest.mark.parametrize(
    "spelling",
    [
        '"{0}"',
        "{0}:/srv/nowhere",
        "/srv/nowhere;{0}",
        "['{0}']",
        '["{0}", "/srv/nowhere"]',
        "file://{0}",
        "{0}\r\n",
        "$HERE",
    ],
)
async def test_a7_a_picture_is_read_whatever_the_list_of_folders_looks_like(
    tmp_path: Path, pictures: Path, spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: quotes, separators, JSON, `file:` and variables name the folder that is meant."""
    monkeypatch.setenv("HERE", str(pictures))
    monkeypatch.setenv(f"{PREFIX}ALLOWED_DIRS", spelling.format(pictures))
    settings = Settings.model_validate({"data_dir": tmp_path / "data", "keys": {}})
    async with open_session(settings) as session:
        reply = await session.call("extract_control_map", image=str(pictures / "sketch.png"), modality="gray")
    assert MapView.model_validate_json(reply.text).width == 256


@pytest.mark.anyio
async def test_a7_an_absent_folder_is_said_in_the_error(tmp_path: Path, pictures: Path) -> None:
    """A7: it is not proposed as a place for the picture."""
    gone = tmp_path / "gone"
    settings = Settings.model_validate(
        {"data_dir": tmp_path / "data", "keys": {}, "allowed_dirs": f"{gone},{tmp_path}"}
    )
    async with open_session(settings) as session:
        error = (await session.call("extract_control_map", image=str(pictures / "sketch.png"), modality="gray")).error
    assert f"{gone} does not exist" in error.hint
    assert f"Move the picture to {tmp_path}" in error.hint


def test_a7_doctor_tells_absent_folders(tmp_path: Path) -> None:
    """A7: each folder of the list on its own line, and what is a file, or nothing at all."""
    (tmp_path / "file").write_bytes(b"")
    listed = f"'{tmp_path}';'{tmp_path / 'gone'}':{tmp_path / 'file'}"
    lines = Terminal(tmp_path / "data", {f"{PREFIX}ALLOWED_DIRS": listed}).run("doctor").stdout.splitlines()
    told = [
        (line.split()[0], line.partition("allowed folder")[2].strip()) for line in lines if "allowed folder" in line
    ]
    assert told == [
        ("ok", str(tmp_path)),
        ("note", f"{tmp_path / 'gone'} (absent)"),
        ("note", f"{tmp_path / 'file'} (a file, no folder)"),
    ]
    nowhere = Terminal(tmp_path / "data", {f"{PREFIX}ALLOWED_DIRS": "none"}).run("doctor").stdout
    assert "none: no local picture is read" in nowhere


@pytest.mark.anyio
async def test_h9_an_answer_is_short_where_previews_are_off(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H9: what the README advises for frameworks that put pictures into the context as text: no base64 is left."""
    monkeypatch.setenv(f"{PREFIX}PREVIEWS", "false")
    settings = Settings.model_validate({"data_dir": tmp_path / "data", "keys": {}, "allowed_dirs": (pictures,)})
    async with open_session(settings) as session:
        reply = await session.generate()
    assert reply.job.status == "succeeded"
    assert reply.previews == []
    assert len(reply.result.model_dump_json()) < 5000
    readme = " ".join((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").split())
    assert re.search(r"Agent Development Kit, need `CONTROLNET_MCP_PREVIEWS=false`", readme)


EVERY_KEY = {name: "YOUR_API_KEY" for name in provider_variables() if is_secret(name)}
EMPTY = {f"{PREFIX}{name.upper()}": "" for name in Settings.model_fields if name not in {"keys", "data_dir"}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        EVERY_KEY,
        EMPTY | dict.fromkeys(provider_variables(), ""),
        dict.fromkeys(EMPTY, "${user_config.x}") | dict.fromkeys(EVERY_KEY, "${user_config.key}"),
        dict.fromkeys(EVERY_KEY, f"{KEY}\u200b"),
        {f"{PREFIX}ALLOWED_DIRS": "/srv/nowhere", f"{PREFIX}ALOWED_DIRS": "x", "SEGMIND_APIKEY": "x"},
        {f"{PREFIX}ALLOWED_DIRS": "~nobody-of-this-name/x", f"{PREFIX}DEPTH_MODEL": "~/gone.onnx"},
    ],
    ids=["none", "placeholders", "empty", "templates", "invisible", "absent", "no such user"],
)
def test_c3_c4_a_half_configured_server_starts_and_lists_its_tools(tmp_path: Path, more: dict[str, str]) -> None:
    """C3, C4: a fresh installation with whatever a host hands it, also without a home folder."""
    assert len(tools_of(Terminal(tmp_path / "data", more), "HOME", "USER", "LOGNAME")) == 7


def test_c4_a_user_without_a_home_folder_is_told_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C4: as in a container with a user of its own; with a data folder that user is served."""
    monkeypatch.setattr(os, "getuid", lambda: 2_000_000_011)
    terminal = Terminal(tmp_path / "data", {"HOME": "nowhere", "XDG_DATA_HOME": None, f"{PREFIX}DATA_DIR": None})
    ended = terminal.run("jobs")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert f"Set {PREFIX}DATA_DIR" in ended.stderr
    assert Terminal(tmp_path / "data", {"HOME": "nowhere", "XDG_DATA_HOME": None}).run("jobs").exit_code == 0


def test_c4_a_data_folder_that_cannot_be_written_lists_its_tools(tmp_path: Path) -> None:
    """C4: the server starts; only calls that need the folder are refused."""
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(stat.S_IRUSR | stat.S_IXUSR)
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "locked" / "data", tmp_path / "file" / "data"):
        assert len(tools_of(Terminal(folder))) == 7
