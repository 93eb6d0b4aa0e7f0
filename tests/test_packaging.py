"""What is shipped: the wheel, the links of an editable install, the pins, and what the documents say of them.

These tests read the checkout, not the installed package.
"""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import TypeVar

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import JsonValue, TypeAdapter

from controlnet_mcp.server import __version__
from tests.test_taste import LAYERS, ROOT, repository
from tests.test_taste_imports import imports

README_COMMAND = (
    "python3 -m venv .venv && . .venv/bin/activate && "
    "pip install --upgrade pip && pip install -e . --group test && pytest"
)
DEPENDENCIES_PAGE = "docs/decisions/2026-11-21-dependencies.md"
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|root)/")
"""The beginning of a path on the machine of whoever wrote a file."""

NAMED_PATH = re.compile(rf"`((?:{'|'.join([*LAYERS, 'tests', 'bench', 'docs'])})/[\w./-]*?(?:\.\w+|/))(?:`|::)")
"""A path of the repository between backticks, perhaps with a test in it."""

ValueT = TypeVar("ValueT")


def setting(kind: type[ValueT], *path: str) -> ValueT:
    """One value of `pyproject.toml`, checked to be of the kind."""
    value: JsonValue = TypeAdapter(dict[str, JsonValue]).validate_python(tomllib.loads(text_of("pyproject.toml")))
    for key in path:
        assert isinstance(value, dict)
        value = value[key]
    return TypeAdapter(kind).validate_python(value)


def text_of(path: str) -> str:
    """The text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def runtime_requirements() -> list[Requirement]:
    """All packages that an installation can bring, those of extras too."""
    extras = setting(dict[str, JsonValue], "project").get("optional-dependencies", {})
    optional = TypeAdapter(dict[str, list[str]]).validate_python(extras)
    rows = [*setting(list[str], "project", "dependencies"), *(row for extra in optional.values() for row in extra)]
    return [Requirement(row) for row in rows]


def is_bounded(requirement: Requirement) -> bool:
    """Whether a pin has a lower and an upper bound."""
    operators = {specifier.operator for specifier in requirement.specifier}
    return bool(operators & {">=", ">", "~=", "=="}) and bool(operators & {"<", "<=", "~=", "=="})


def parts_of(distribution: str) -> set[str]:
    """The distribution and those that it pins to one version: parts of it that were packaged apart.

    An extra that is not installed has no known parts.
    """
    try:
        needed = [Requirement(row) for row in requires(distribution) or []]
    except PackageNotFoundError:
        needed = []
    pinned = {canonicalize_name(pin.name) for pin in needed if {one.operator for one in pin.specifier} == {"=="}}
    return {canonicalize_name(distribution), *pinned}


def imported_distributions() -> set[str]:
    """The distributions that the sources import, by their names on the package index."""
    known = packages_distributions()
    tops = {name.partition(".")[0] for module in repository() if module.is_source for _, name in imports(module)}
    foreign = tops - sys.stdlib_module_names - {"controlnet_mcp", ""}
    return {canonicalize_name(dist) for top in foreign for dist in known.get(top, [top])}


def tracked_files() -> list[Path]:
    """The files that git knows or would add; links are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  # whatever git is first
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel of the checkout, built without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.Path(path)


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: zipfile.Path) -> None:
    """Every source file is in it under `controlnet_mcp`, each package says that it is typed, and no test is shipped."""
    info = f"controlnet_mcp-{__version__}.dist-info"
    assert {entry.name for entry in wheel.iterdir()} == {"controlnet_mcp", info}
    assert {entry.name for entry in (wheel / "controlnet_mcp").iterdir()} == set(LAYERS)
    names = set(wheel.root.namelist())
    assert {f"controlnet_mcp/{layer}/py.typed" for layer in LAYERS} <= names
    assert {f"controlnet_mcp/{module.path}" for module in repository() if module.is_source} == {
        name for name in names if name.endswith(".py")
    }


def test_the_wheel_brings_the_command(wheel: zipfile.Path) -> None:
    """Its metadata holds the console script, the licence and the version of `server/__init__.py`."""
    info = wheel / f"controlnet_mcp-{__version__}.dist-info"
    assert "controlnet-mcp = controlnet_mcp.server.cli:main" in (info / "entry_points.txt").read_text(encoding="utf-8")
    assert (info / "licenses" / "LICENSE").exists()
    assert f"\nVersion: {__version__}\n" in (info / "METADATA").read_text(encoding="utf-8")


@pytest.mark.parametrize("layer", LAYERS)
def test_an_editable_install_links_to_the_folder(layer: str) -> None:
    """The link is relative, so that it works wherever the checkout lies, and its target is marked as typed."""
    link = ROOT / ".hatch" / "editable" / "controlnet_mcp" / layer
    assert link.is_symlink(), f"{link} is no link: see the note on Windows in CONTRIBUTING.md"
    assert link.readlink().as_posix() == f"../../../{layer}"
    assert (ROOT / layer / "py.typed").is_file()


def test_every_list_of_the_folders_agrees() -> None:
    """The links, the build and the checkers speak of the same folders."""
    hatch = ("tool", "hatch", "build", "targets")
    assert {link.name for link in (ROOT / ".hatch" / "editable" / "controlnet_mcp").iterdir()} == set(LAYERS)
    assert set(setting(list[str], *hatch, "wheel", "only-include")) == set(LAYERS)
    assert setting(dict[str, str], *hatch, "wheel", "sources") == {name: f"controlnet_mcp/{name}" for name in LAYERS}
    assert set(setting(list[str], *hatch, "sdist", "only-include")) >= {*LAYERS, "tests", "README.md", "LICENSE"}
    assert set(setting(list[str], "tool", "mypy", "files")) == {*LAYERS, "tests", "bench"}
    assert set(setting(list[str], "tool", "pyright", "include")) == {*LAYERS, "tests", "bench"}
    assert set(setting(list[str], "tool", "coverage", "run", "source_pkgs")) == {
        f"controlnet_mcp.{name}" for name in LAYERS
    }
    banned = setting(dict[str, JsonValue], "tool", "ruff", "lint", "flake8-tidy-imports", "banned-api")
    assert set(LAYERS) <= set(banned)


def test_every_pin_has_two_bounds() -> None:
    """A new major version of anything is let in by us, not by its day of release."""
    groups = setting(dict[str, list[str | dict[str, str]]], "dependency-groups")
    tools = [Requirement(row) for rows in groups.values() for row in rows if isinstance(row, str)]
    builders = [Requirement(row) for row in setting(list[str], "build-system", "requires")]
    assert [str(pin) for pin in [*runtime_requirements(), *tools, *builders] if not is_bounded(pin)] == []


@pytest.mark.parametrize(
    ("pin", "bounded"),
    [("rich", False), ("rich>=14", False), ("rich<16", False), ("rich>=14,<16", True), ("rich~=14.1", True)],
)
def test_a_pin_without_a_bound_is_seen(pin: str, *, bounded: bool) -> None:
    """A bound on one side only is not enough."""
    assert is_bounded(Requirement(pin)) is bounded


def test_every_imported_package_is_declared() -> None:
    """Nothing is imported that another dependency happens to bring, but for parts that it pins to one version."""
    declared = {part for pin in runtime_requirements() for part in parts_of(pin.name)}
    assert imported_distributions() - declared == set()


def test_parts_are_told_from_what_a_dependency_happens_to_need() -> None:
    """`mcp` names one version of `mcp-types`, and any of a range of `starlette`."""
    assert "mcp-types" in parts_of("mcp")
    assert "starlette" not in parts_of("mcp")


def test_every_declared_package_is_imported() -> None:
    """Nobody installs what no line of ours uses."""
    assert {canonicalize_name(pin.name) for pin in runtime_requirements()} - imported_distributions() == set()


def test_every_declared_package_is_explained() -> None:
    """The decision about dependencies has a row with the same bounds for each, and none for a package that is gone."""
    rows = re.findall(r"^\| `([a-z0-9-]+)` ([^ |]+) \|", text_of(DEPENDENCIES_PAGE), flags=re.MULTILINE)
    explained = {Requirement(f"{name}{bounds}") for name, bounds in rows}
    assert {f"{pin.name} {pin.specifier}" for pin in explained} == {
        f"{pin.name} {pin.specifier}" for pin in runtime_requirements()
    }


def test_the_documents_tell_the_command_that_is_run() -> None:
    """A newcomer's way to run the tests is the one that is checked with every change."""
    assert f"\n{README_COMMAND}\n" in text_of("README.md")
    assert f"bash -c \\\n    '{README_COMMAND}'\n" in text_of(".ci/run")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_paths_that_the_documents_name_exist() -> None:
    """A page that names a file as it was called before it moved is noticed; tests may be named from `tests/`."""
    pages = [path for path in tracked_files() if path.suffix == ".md"]
    named = {(page, name) for page in pages for name in NAMED_PATH.findall(page.read_text(encoding="utf-8"))}
    assert named
    files = sorted(row for row in named if "NAME" not in row[1])  # the recipe's own word for a name to be chosen
    missing = [row for row in files if not any((start / row[1]).exists() for start in (ROOT, ROOT / "tests"))]
    assert [f"{page.relative_to(ROOT)}: {name}" for page, name in missing] == []


def test_the_way_of_a_picture_is_that_of_the_code() -> None:
    """The architecture page names at most ten functions, each with the file that has it, and nothing that is gone."""
    way = text_of("docs/architecture.md").partition("## One picture's way\n")[2].partition("\n## ")[0]
    hops = re.findall(r"^\d+\. `(?:\w+\.)?(\w+)` in `([\w/]+\.py)`", way, flags=re.MULTILINE)
    assert 1 < len(hops) <= 10
    assert [hop for hop in hops if not re.search(rf"\b(def|class) {hop[0]}\b", text_of(hop[1]))] == []
    sources = "\n".join(path.read_text(encoding="utf-8") for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
    names = {part for name in re.findall(r"`((?:\w+\.)?\w+)`", way) for part in name.split(".")}
    assert [name for name in sorted(names) if not re.search(rf"\b(def|class) {name}\b", sources)] == []


def test_the_rules_are_short_enough_to_be_read() -> None:
    """The glossary has at most 25 words, the page for agents at most 80 lines."""
    glossary = text_of("CONTRIBUTING.md").partition("## GLOSSARY")[2].partition("\n## ")[0]
    assert 1 < len(re.findall(r"^\| [a-z]", glossary, flags=re.MULTILINE)) - 1 <= 25
    assert len(text_of("AGENTS.md").splitlines()) <= 80


def test_the_changelog_knows_the_version() -> None:
    """The version in the sources has a heading of its own."""
    assert re.search(rf"^## \[{re.escape(__version__)}\]", text_of("CHANGELOG.md"), flags=re.MULTILINE)


def test_no_file_names_a_place_on_its_author_s_machine() -> None:
    """A path of one machine is of no use on another."""
    found = [path for path in tracked_files() if MACHINE_PATH.search(path.read_bytes().decode("utf-8", "replace"))]
    assert [str(path.relative_to(ROOT)) for path in found] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("open('/" + "work/main/a.png')", True),
        ("see /" + "root/notes", True),
        ("https://example.com/" + "work/a.png", False),
        ("docs/" + "root/notes", False),
    ],
)
def test_a_machine_path_is_told_from_an_address(text: str, *, found: bool) -> None:
    """Only a path from the root of a file system counts."""
    assert bool(MACHINE_PATH.search(text)) is found
