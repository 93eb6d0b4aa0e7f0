"""The README and the pages in `docs/` are true: tables are those of the code, commands, examples and links are real.

The tables between `<!-- NAME -->` and `<!-- /NAME -->` are generated:

    python -m tests.test_readme

writes them again; run it when a test here says that one is out of date.
"""

import ast
import importlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

import click
import pytest
from pydantic.fields import FieldInfo

from controlnet_mcp.images.maps import KNOBS, NO_MODELS, MapParameters
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.providers.draft.adapter import DraftOptions
from controlnet_mcp.providers.registry import adapter_class, build_table
from controlnet_mcp.server.cli import COMMANDS, cli
from controlnet_mcp.server.settings import PREFIX, Settings
from controlnet_mcp.tools import TOOLS
from controlnet_mcp.tools.tool import Tool

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(DOCS.glob("*.md")))
MEBIBYTE = 1024 * 1024
COMMON_SETTINGS = ("allowed_dirs", "data_dir", "providers", "max_cost_per_job", "log_level")
"""The settings that most people need."""


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


def settings_rows(names: Iterable[str]) -> str:
    """Variables with our prefix, with defaults and meanings."""
    fields = ((name, Settings.model_fields[name]) for name in names)
    rows = ((f"`{PREFIX}{name.upper()}`", default_of(field), field.description or "") for name, field in fields)
    return table(("variable", "default", "meaning"), rows)


def settings_table() -> str:
    """Every variable with our prefix: the usual ones, then those on access and on spending."""
    return settings_rows(name for name in Settings.model_fields if name != "keys")


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


TABLES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {
        "tools": tools_table,
        "providers": providers_table,
        "common settings": lambda: settings_rows(COMMON_SETTINGS),
    },
    DOCS / "settings.md": {"settings": settings_table},
}


def read(page: Path) -> str:
    """The text of a page."""
    return page.read_text(encoding="utf-8")


def written(page: Path) -> str:
    """A page with its tables generated again."""
    text = read(page)
    for name, make in TABLES[page].items():
        before, opened, rest = text.partition(f"<!-- {name} -->\n")
        _, closed, after = rest.partition(f"<!-- /{name} -->")
        assert opened, f"{page.name} has no place for {name}"
        assert closed, f"{page.name} does not say where {name} ends"
        text = f"{before}{opened}{make()}\n{closed}{after}"
    return text


def blocks(language: str, *pages: Path) -> list[str]:
    """The code blocks of one language, in all pages unless some are named."""
    texts = "\n".join(map(read, pages or PAGES))
    return re.findall(rf"^```{language}\n(.*?)^```$", texts, flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of links and pictures that are not on the web."""
    return re.findall(r"\]\((?!https?:)([^)]+)\)", read(page))


def anchors(page: Path) -> set[str]:
    """The headings of a page as addresses."""
    headings = re.findall(r"^#+ (.+)$", read(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_tables_are_up_to_date(page: Path) -> None:
    """Run `python -m tests.test_readme` when they are not."""
    assert written(page) == read(page)


def test_the_readme_is_short() -> None:
    """What most people do not need on their first day is in `docs/`."""
    assert len(read(README).splitlines()) <= 250


def test_the_readme_links_to_every_page_once() -> None:
    """A page that nobody finds, or that the README describes twice, is noticed."""
    pages = {page.relative_to(ROOT).as_posix() for page in PAGES[1:]}
    assert pages
    shown = Counter(target.partition("#")[0] for target in links(README))
    wanted = [*pages, "docs/decisions", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "providers/README.md"]
    assert {page: shown[page] for page in wanted} == dict.fromkeys(wanted, 1)


def test_one_command_shows_the_demo_and_one_runs_the_tests() -> None:
    """A newcomer copies one line; each makes its own environment."""
    demo, tests = (line for block in blocks("sh", README) for line in block.splitlines())
    assert demo.startswith("python3 -m venv .venv && ")
    assert demo.endswith(" && controlnet-mcp demo")
    assert tests.startswith("python3 -m venv .venv && ")
    assert tests.endswith(" && pytest")


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file that exists, and a heading that it has; pictures are small enough for a slow line."""
    for target in links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if path == ROOT / "providers" / "README.md":
            continue  # the sources may be out of the way
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target
        assert path.suffix not in {".jpg", ".png"} or 0 < path.stat().st_size < 300 * 1024


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
    section = read(DOCS / "draft.md").partition("## Test mode")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == set(get_args(choices))


def test_what_needs_trained_weights_is_said() -> None:
    """The modalities whose maps are made here, and no others, are listed as such."""
    (made,) = re.findall(r"made here, free of charge:\n([^.]+)\.", read(DOCS / "control-maps.md"))
    assert set(re.findall(r"`([\w-]+)`", made)) == {name for name in MODALITIES if NO_MODELS.makes(name)}


def test_every_knob_of_every_map_is_told_with_its_default() -> None:
    """The table of parameters has a row for each map that has some, and no parameter that does not exist."""
    section = read(DOCS / "control-maps.md").partition("## Parameters")[2].partition("\n## ")[0]
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
    for changed in TABLES:
        changed.write_text(written(changed), encoding="utf-8")
