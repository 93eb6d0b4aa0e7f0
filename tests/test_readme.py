"""The README keeps its word: its tables are those of the code, its commands and examples are real.

The tables between `<!-- NAME -->` and `<!-- /NAME -->` are written by this file:

    python -m tests.test_readme

writes them anew; do so whenever a test here says that one is out of date.
"""

import ast
import importlib
import json
import re
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import click
import pytest
from pydantic.fields import FieldInfo

from controlnet_mcp.images.maps import KNOBS, MapParameters
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.providers.draft.adapter import DraftOptions
from controlnet_mcp.providers.registry import adapter_class, build_table
from controlnet_mcp.server.cli import COMMANDS, cli
from controlnet_mcp.server.settings import PREFIX, Settings
from controlnet_mcp.tools import TOOLS
from controlnet_mcp.tools.tool import Tool

README = Path(__file__).parents[1] / "README.md"
MEBIBYTE = 1024 * 1024


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [list(headings), ["---"] * len(list(headings)), *map(list, rows)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def effect(tool: Tool) -> str:
    """What a tool may do, as its annotations tell hosts."""
    if tool.hints.read_only:
        return "reads"
    return "stops a job" if tool.hints.destructive else "starts a job, may cost money"


def tools_table() -> str:
    """Every tool with its description."""
    rows = ((f"`{tool.name}`", tool.description, effect(tool)) for tool in TOOLS)
    return table(("tool", "for", "effect"), rows)


def default_of(field: FieldInfo) -> str:
    """A default as a person writes it into a variable; nothing for one that the meaning tells."""
    value: object = field.default
    if value is None or value in ((), frozenset(), {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= MEBIBYTE and value % MEBIBYTE == 0:
        return f"{value} ({value // MEBIBYTE} MiB)"
    return str(value)


def settings_table() -> str:
    """Every variable with our prefix: the usual ones, then those on access and on spending."""
    fields = {name: field for name, field in Settings.model_fields.items() if name != "keys"}
    rows = ((f"`{PREFIX}{name.upper()}`", default_of(field), field.description or "") for name, field in fields.items())
    return table(("variable", "default", "meaning"), rows)


def providers_table() -> str:
    """Every provider that is built in, with the variables that belong to it."""
    rows: list[tuple[str, str, str]] = []
    for entry in build_table({}):
        variables = adapter_class(entry.name).settings.variables()
        optional = ", ".join(f"`{name}`" for name in variables if name not in entry.missing)
        needs = ", ".join(f"`{name}`" for name in entry.missing)
        kind = "" if entry.capabilities.ai_generated else " (built in, not AI)"
        rows.append((f"`{entry.name}`{kind}", needs or "nothing", optional))
    return table(("provider", "needs", "takes too"), rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "tools": tools_table,
    "providers": providers_table,
    "settings": settings_table,
}


def text() -> str:
    """The README."""
    return README.read_text(encoding="utf-8")


def written(readme: str, name: str) -> str:
    """The README with one section written anew."""
    body = f"<!-- {name} -->\n{SECTIONS[name]()}\n<!-- /{name} -->"
    replaced, count = re.subn(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _: body, readme, flags=re.DOTALL)
    assert count == 1, f"the README has no place for {name}"
    return replaced


def blocks(language: str) -> list[str]:
    """The code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_table_is_up_to_date(name: str) -> None:
    """Run `python -m tests.test_readme` when it is not."""
    assert written(text(), name) == text()


def test_one_command_shows_the_demo_and_one_runs_the_tests() -> None:
    """A newcomer copies two lines."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert "python3 -m venv .venv && . .venv/bin/activate && pip install . && controlnet-mcp demo" in lines
    assert "pip install -e . --group test && pytest" in lines


def test_every_command_that_is_shown_exists() -> None:
    """With the options that it is shown with."""
    shown = re.findall(r"^(?:.*&& )?controlnet-mcp (.+)$", "\n".join(blocks("sh")), flags=re.MULTILINE)
    assert shown
    for line in shown:
        word, *rest = shlex.split(line, comments=True)
        command = cli.get_command(click.Context(cli), word)
        assert command is not None, word
        command.make_context(word, rest)
    assert set(COMMANDS) - {line.split()[0] for line in shown} == set()


def test_every_picture_and_page_that_is_pointed_to_exists() -> None:
    """Pictures stay small enough to be looked at on a slow line."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text()) + re.findall(r'src="([^"]+)"', text())
    assert any(target.startswith("docs/pictures/") for target in targets)
    for target in targets:
        path = README.parent / target
        if path.suffix in {".jpg", ".png"}:
            assert 0 < path.stat().st_size < 300 * 1024
        else:
            assert path.exists() or target.startswith("providers/")  # the sources may be out of the way


def test_the_configurations_are_json_that_starts_the_command() -> None:
    """As hosts read it, with a full path in front."""
    found = [json.loads(block) for block in blocks("json")]
    servers = [
        block.get("mcpServers") or block.get("servers") for block in found if block.keys() & {"mcpServers", "servers"}
    ]
    assert len(servers) >= 2
    commands = [server["controlnet"].get("command") for server in servers]
    assert all(command is None or Path(command).name == "controlnet-mcp" for command in commands)


def test_the_examples_call_tools_with_arguments_that_they_have() -> None:
    """Each one is checked as the server checks it."""
    calls = [block for block in map(json.loads, blocks("json")) if "tool" in block]
    tools = {tool.name: tool for tool in TOOLS}
    assert calls
    for call in calls:
        tools[call["tool"]].arguments.model_validate(call["arguments"])


def test_the_python_that_is_shown_compiles_and_imports_what_exists() -> None:
    """Names that a library renamed are found."""
    (block,) = blocks("python")
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert all(hasattr(module, alias.name) for alias in node.names)


def test_every_simulation_is_explained() -> None:
    """The table of test mode has all of them, and no other."""
    (choices,) = (kind for kind in get_args(DraftOptions.model_fields["simulate"].annotation) if get_args(kind))
    section = text().partition("## Test mode")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == set(get_args(choices))


def test_what_needs_trained_weights_is_said() -> None:
    """The modalities whose maps are made here, and no others, are listed as such."""
    (made,) = re.findall(r"made here, free of charge:\n([^.]+)\.", text())
    assert set(re.findall(r"`([\w-]+)`", made)) == {name for name, row in MODALITIES.items() if row.computed}


def test_every_knob_of_every_map_is_told_with_its_default() -> None:
    """The table of knobs has a row for each map that has some, and no knob that there is not."""
    section = text().partition("### Control maps")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", section, flags=re.MULTILINE)
    told = {
        name: re.findall(r"`(\w+)`(?: ([\d.]+|\"\w+\"))?", knobs)
        for names, knobs in rows
        for name in names.split("`")[1::2]
    }
    assert {name for name, knobs in KNOBS.items() if knobs} == set(told)
    defaults = MapParameters().model_dump()
    for name, knobs in KNOBS.items():
        shown = dict(told.get(name, []))
        assert set(knobs) <= set(shown)
        for knob in set(knobs) - {"thresholds"}:
            default = defaults[knob]
            assert shown[knob] == (f'"{default}"' if isinstance(default, str) else f"{default:.4g}")


if __name__ == "__main__":
    readme = text()
    for section in SECTIONS:
        readme = written(readme, section)
    README.write_text(readme, encoding="utf-8")
