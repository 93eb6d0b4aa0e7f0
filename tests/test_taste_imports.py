"""Who may use what, read with `ast`: one direction of imports, adapters apart, and calls that have one place.

Imports count wherever they stand: at the top, inside a function, under `TYPE_CHECKING`, or as a string that a lazy
import reads.
"""

import ast
import re
from collections.abc import Iterator
from itertools import chain

import pytest

from tests.test_taste import LAYERS, Module, Rule, repository

PLACES: dict[str, tuple[str, ...]] = {
    "os.environ": ("server/settings.py", "tests/", "bench/"),
    "os.getenv": ("server/settings.py", "tests/", "bench/"),
    "builtins.print": ("bench/",),
    "asyncio": (),
    "time.sleep": (),
    "anyio.sleep": ("jobs/", "bench/"),
    "anyio.sleep_until": ("jobs/", "bench/"),
    "subprocess": ("server/cli", "images/sandbox.py", "tests/", "bench/"),
    "anyio.run_process": ("server/cli", "tests/", "bench/"),
    "anyio.open_process": ("server/cli", "tests/", "bench/"),
}
"""A name (and all under it) to the beginnings of the paths where it may be used; none means nowhere."""

DOORS_TO_ADAPTERS = ("providers/registry.py", "server/app.py")
"""The literal table of providers, and where the parts of the process are put together."""


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of all that a module imports; a relative name keeps its leading dots."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=origin, names=names, level=level):
                yield from ((node.lineno, f"{'.' * level}{origin or ''}.{alias.name}") for alias in names)
            case ast.Constant(value=str(text)) if re.fullmatch(r"controlnet_mcp(\.\w+)+(:\w+)?", text):
                yield node.lineno, text.partition(":")[0]
            case _:
                pass


def local_names(module: Module) -> dict[str, str]:
    """What the names that imports bind stand for, as dotted names."""
    bound = {"print": "builtins.print"}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            heads = ((alias.asname, alias.name, alias.name.partition(".")[0]) for alias in node.names)
            bound |= {asname or head: name if asname else head for asname, name, head in heads}
        elif isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return bound


def uses(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every imported thing that is imported or referred to, through whatever alias."""
    yield from imports(module)
    bound = local_names(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            head, dot, rest = ast.unparse(node).partition(".")
            if head in bound:
                yield node.lineno, f"{bound[head]}{dot}{rest}"


def is_under(name: str, parent: str) -> bool:
    """Whether a dotted name is another or lies in it."""
    return name == parent or name.startswith(f"{parent}.")


def points_inwards(module: Module) -> Iterator[str]:
    """Imports of the project are absolute, and go server -> tools -> jobs -> providers -> images -> foundation only."""
    reach = LAYERS[: LAYERS.index(module.folder) + 1] if module.is_source else LAYERS
    for line, name in imports(module):
        parts = name.split(".")
        outwards = parts[0] == "controlnet_mcp" and len(parts) > 1 and parts[1] not in reach
        if outwards or parts[0] in LAYERS or name.startswith("."):
            yield f"{module.path}:{line} may not import {name}"


def uses_names_in_their_place(module: Module) -> Iterator[str]:
    """The environment, processes, clocks and the terminal are each touched in one place."""
    found: set[tuple[int, str]] = set()
    for line, name in uses(module):
        found |= {
            (line, place)
            for place, paths in PLACES.items()
            if is_under(name, place) and not module.path.startswith(paths)
        }
    yield from (f"{module.path}:{line} may not use {name}" for line, name in sorted(found))


def dotted(path: str) -> str:
    """The import name of a source file."""
    return f"controlnet_mcp.{path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}"


def adapter_name(module: Module) -> str:
    """The import name of the adapter that a module of `providers/` belongs to: its file, or its folder there."""
    return ".".join(dotted(module.path).split(".")[:3])


def adapters() -> frozenset[str]:
    """The import names of all adapters."""
    return frozenset(adapter_name(module) for module in repository() if module.is_adapter)


def leaves_adapters_alone(module: Module, known: frozenset[str]) -> Iterator[str]:
    """An adapter is known to the table of providers and to nothing else, least of all to another adapter."""
    if module.path.startswith(DOORS_TO_ADAPTERS) or not module.is_source:
        return
    for line, name in imports(module):
        if any(is_under(name, adapter) and adapter != adapter_name(module) for adapter in known):
            yield f"{module.path}:{line} may not import {name}"


RULES: tuple[Rule, ...] = (points_inwards, uses_names_in_their_place)


@pytest.mark.parametrize("rule", RULES)
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    """Nothing in the sources, the tests and the benches breaks the rule."""
    findings = [finding for module in repository() for finding in rule(module)]
    assert not findings, "\n".join(findings)


def test_adapters_know_nothing_of_each_other() -> None:
    """Only the table of providers and the composition import adapters, and there are adapters to be apart."""
    known = adapters()
    assert len(known) > 1
    findings = list(chain.from_iterable(leaves_adapters_alone(module, known) for module in repository()))
    assert not findings, "\n".join(findings)


def test_the_table_of_providers_knows_every_adapter() -> None:
    """A file with an adapter that nobody can choose is found."""
    (table,) = (module for module in repository() if module.path == "providers/registry.py")
    known = {adapter for adapter in adapters() for _, name in imports(table) if is_under(name, adapter)}
    assert known == adapters()


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (points_inwards, "images/picture.py", "import controlnet_mcp.providers.base"),
        (points_inwards, "images/maps/lines.py", "from controlnet_mcp import jobs"),
        (points_inwards, "providers/base.py", "def f():\n    from controlnet_mcp.jobs.record import Job"),
        (points_inwards, "jobs/record.py", "if TYPE_CHECKING:\n    from controlnet_mcp.tools import generate"),
        (points_inwards, "tools/generate.py", 'LAZY = "controlnet_mcp.server.cli:main"'),
        (points_inwards, "tools/generate.py", "from . import models"),
        (points_inwards, "tools/generate.py", "from .models import Job"),
        (points_inwards, "server/cli.py", "from providers.base import Provider"),
        (points_inwards, "tests/test_jobs.py", "import jobs"),
        (points_inwards, "server/cli.py", "import controlnet_mcp.plugins"),
        (uses_names_in_their_place, "jobs/record.py", "import os\nX = os.environ['HOME']"),
        (uses_names_in_their_place, "jobs/record.py", "import os as system\nX = system.getenv('HOME')"),
        (uses_names_in_their_place, "jobs/record.py", "from os import environ"),
        (uses_names_in_their_place, "server/cli.py", "print('hello')"),
        (uses_names_in_their_place, "tests/test_jobs.py", "import time\ntime.sleep(1)"),
        (uses_names_in_their_place, "jobs/record.py", "import asyncio"),
        (uses_names_in_their_place, "jobs/record.py", "from asyncio import sleep"),
        (uses_names_in_their_place, "tools/generate.py", "import anyio\nasync def f():\n    await anyio.sleep(1)"),
        (uses_names_in_their_place, "server/transports/http.py", "import subprocess"),
    ],
)
def test_a_rule_finds_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    """A snippet that does what the rule forbids is found, once."""
    assert len(list(rule(Module.parse(path, text)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (points_inwards, "server/cli.py", "from controlnet_mcp.images.picture import read"),
        (points_inwards, "jobs/record.py", "from controlnet_mcp.jobs.states import State"),
        (points_inwards, "tests/test_jobs.py", "import controlnet_mcp.server.cli"),
        (uses_names_in_their_place, "server/settings.py", "import os\nX = os.environ"),
        (uses_names_in_their_place, "jobs/driver.py", "from anyio import sleep"),
        (uses_names_in_their_place, "tools/generate.py", "import anyio\nX = anyio.sleep_forever"),
        (uses_names_in_their_place, "server/cli/install.py", "import subprocess"),
        (uses_names_in_their_place, "jobs/record.py", "def f(asyncio, printer): return asyncio, printer.print"),
    ],
)
def test_a_rule_leaves_good_code_alone(rule: Rule, path: str, text: str) -> None:
    """A snippet that stays in its place passes."""
    assert list(rule(Module.parse(path, text))) == []


@pytest.mark.parametrize(
    ("path", "name", "allowed"),
    [
        ("providers/segmind.py", "providers.scenario", False),
        ("providers/draft/adapter.py", "providers.scenario", False),
        ("providers/sender.py", "providers.draft.scene", False),
        ("tools/generate.py", "providers.scenario", False),
        ("providers/draft/adapter.py", "providers.draft.scene", True),
        ("providers/scenario.py", "providers.scenarios", True),
        ("providers/registry.py", "providers.scenario", True),
        ("server/app.py", "providers.draft.transport", True),
    ],
)
def test_an_adapter_is_imported_through_its_doors_only(path: str, name: str, *, allowed: bool) -> None:
    """An adapter imports its own parts; all others but the table and the composition leave it alone."""
    known = frozenset({"controlnet_mcp.providers.scenario", "controlnet_mcp.providers.draft"})
    module = Module.parse(path, f"from controlnet_mcp.{name} import Something")
    assert (list(leaves_adapters_alone(module, known)) == []) is allowed
