"""The command line as a whole: its words, its options, what it does with a wrong environment, and `Terminal`."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import controlnet_mcp
from controlnet_mcp.providers.registry import provider_variables
from controlnet_mcp.server import __version__
from controlnet_mcp.server.cli import COMMANDS, cli, doctor
from controlnet_mcp.server.cli.options import WITHOUT_MEANING, further_control, named_value
from controlnet_mcp.server.cli.output import WORD_OF_TOOL, for_people
from controlnet_mcp.tools import TOOLS
from controlnet_mcp.tools.tool import Tool

TIMEOUT_SECONDS = 120
PROGRAM = [sys.executable, "-P", "-m", "controlnet_mcp.server"]
"""The command line as another process: `controlnet-mcp` itself may be missing where only the sources are."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A user at a command line, with a data folder of their own, no key, and the working directory of the test.

    Attributes:
        data_dir: Where the program keeps its jobs.
        more: Further variables; `None` takes one out.
    """

    data_dir: Path
    more: Mapping[str, str | None] = field(default_factory=dict[str, str | None])

    @property
    def variables(self) -> dict[str, str | None]:
        """What the program finds in its environment; `None` is taken out of it."""
        keys = dict.fromkeys(provider_variables())
        return {**keys, "CONTROLNET_MCP_DATA_DIR": str(self.data_dir), **self.more}

    def run(self, *words: str | Path) -> Result:
        """Run a command in this process; what is no exit is raised, and no name is looked up elsewhere."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(doctor, "PUBLIC_NAME", "localhost")
            return CliRunner(env=self.variables).invoke(cli, [str(word) for word in words], catch_exceptions=False)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start a command in a process of its own, with pipes."""
        roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
        variables = {**os.environ, **self.variables, "PYTHONPATH": roots}
        return subprocess.Popen(
            [*PROGRAM, *map(str, words)],
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def command_of(tool: Tool) -> click.Command:
    """The word that does what a tool does."""
    command = cli.get_command(click.Context(cli), WORD_OF_TOOL[tool.name])
    assert command is not None
    return command


@pytest.mark.parametrize("word", COMMANDS)
def test_every_word_of_the_help_is_there_and_explains_itself(word: str, tmp_path: Path) -> None:
    """`controlnet-mcp WORD --help` answers."""
    shown = Terminal(tmp_path).run(word, "--help")
    assert shown.exit_code == 0
    assert f"{word} [OPTIONS]" in shown.stdout
    assert COMMANDS[word][1] in Terminal(tmp_path).run("--help").stdout


def test_every_tool_has_a_word() -> None:
    """Whatever an assistant can do can be done by hand."""
    assert set(WORD_OF_TOOL) == {tool.name for tool in TOOLS}
    assert set(WORD_OF_TOOL.values()) <= set(COMMANDS)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_no_parameter_of_a_tool_is_forgotten(tool: Tool) -> None:
    """Each one is an option or an argument of the word, apart from previews, which pictures in files make pointless."""
    parameters = {parameter.name for parameter in command_of(tool).params}
    assert parameters - {"output", "as_json", "sidecar"} == tool.arguments.model_fields.keys() - WITHOUT_MEANING


def test_an_unknown_word_is_a_wrong_call(tmp_path: Path) -> None:
    """A wrong call ends with 2 and says so on stderr."""
    ended = Terminal(tmp_path).run("generat")
    assert ended.exit_code == 2
    assert "No such command" in ended.stderr
    assert ended.stdout == ""


def test_the_module_is_the_command_too() -> None:
    """`python -m controlnet_mcp.server` works where `controlnet-mcp` is not on the path."""
    with Terminal(Path()).start("--version") as program:
        stdout, _ = program.communicate(timeout=TIMEOUT_SECONDS)
    assert stdout == f"controlnet-mcp, version {__version__}\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONTROLNET_MCP_WAIT_SECONDS", "soon"),
        ("CONTROLNET_MCP_LOG_LEVEL", "LOUD"),
        ("MODELSLAB_PLAN", "golden"),
        ("CONTROLNET_MCP_PROVIDERS", "nobody"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, tmp_path: Path) -> None:
    """The sentence names the variable; there is no traceback."""
    ended = Terminal(tmp_path, {variable: value}).run("jobs")
    assert ended.exit_code == 1
    assert variable in ended.stderr
    assert ended.stdout == ""


def test_a_wrong_value_is_not_repeated(tmp_path: Path) -> None:
    """A value may be a secret that was put into the wrong variable."""
    ended = Terminal(tmp_path, {"CONTROLNET_MCP_WAIT_SECONDS": "sk-secret"}).run("jobs")
    assert "sk-secret" not in ended.output


def test_sentences_for_models_name_commands_to_people() -> None:
    """A person has no tools to call."""
    assert for_people("list_jobs shows the jobs.") == "`controlnet-mcp jobs` shows the jobs."


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("seconds=3", ("seconds", 3)),
        ("mark=false", ("mark", False)),
        ("simulate=queued", ("simulate", "queued")),
        ("note=a=b", ("note", "a=b")),
        ("ids=[1, 2]", ("ids", [1, 2])),
    ],
)
def test_a_named_value_is_json_where_it_can_be(text: str, pair: tuple[str, object]) -> None:
    """Numbers, booleans and lists need no quotes, and words need none either."""
    assert named_value(text) == pair


@pytest.mark.parametrize("text", ["seconds", "=3", " =3", ""])
def test_a_named_value_needs_a_name_and_a_value(text: str) -> None:
    """Anything else is a wrong call."""
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        named_value(text)


def test_a_further_control_is_short_or_json() -> None:
    """Both forms mean the same."""
    as_json = '{"modality": "pose", "image": "dance.png", "weight": 0.5}'
    assert further_control("pose:0.5=dance.png") == further_control(as_json)
    assert further_control("pose=a=b.png").image == "a=b.png"
    assert further_control("pose=dance.png").weight == 1


@pytest.mark.parametrize("text", ["pose", "pose:heavy=dance.png", "pose:3=dance.png", "{", '{"modality": "pose"}'])
def test_a_further_control_that_makes_no_sense_is_refused(text: str) -> None:
    """Before anything is read or sent."""
    with pytest.raises(click.BadParameter):
        further_control(text)
