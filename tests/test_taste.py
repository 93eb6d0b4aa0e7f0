"""The shape of the code, read with `ast`: names and docstrings. A rule has no list of exceptions.

Each rule takes one module and yields what is wrong with it. The first test runs the rules over the whole repository,
the others prove on snippets that every rule can fail, and what it lets pass.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("foundation", "images", "providers", "jobs", "tools", "server")
"""The source folders, innermost first: each may import itself and what stands to its left."""

VAGUE_WORDS = frozenset({"util", "utils", "helper", "helpers", "manager", "managers", "common"})

AnyFunction: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Documented: TypeAlias = ast.Module | ast.ClassDef | AnyFunction


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file: its path from the root with forward slashes, its text, and the text parsed."""

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> "Module":
        """Parse the text of a file."""
        return cls(path, text, ast.parse(text, filename=path))

    @property
    def folder(self) -> str:
        """The first part of the path."""
        return self.path.partition("/")[0]

    @property
    def is_source(self) -> bool:
        """Whether it is shipped, not a test or a bench."""
        return self.folder in LAYERS

    @property
    def is_adapter(self) -> bool:
        """Whether it holds a provider: an `adapter.py` in a folder of its own."""
        return self.folder == "providers" and self.path.count("/") == 2 and self.path.endswith("/adapter.py")


Rule: TypeAlias = Callable[[Module], Iterator[str]]


@cache
def repository() -> tuple[Module, ...]:
    """Every Python file of the sources, the tests and the benches."""
    paths = sorted(path for folder in (*LAYERS, "tests", "bench") for path in (ROOT / folder).rglob("*.py"))
    return tuple(Module.parse(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def has_telling_names(module: Module) -> Iterator[str]:
    """No module and no class is named for what it is to others instead of what it is."""
    parts = re.split(r"[/_.]", module.path.removesuffix(".py"))
    if VAGUE_WORDS.intersection(parts):
        yield f"{module.path} says nothing by its name"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            words = {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+", node.name)}
            if words & VAGUE_WORDS:
                yield f"{module.path}:{node.lineno} {node.name} says nothing by its name"


def public_parts(node: Documented, path: str) -> Iterator[tuple[str, Documented]]:
    """The node itself and every public class and function in it, but not what lives inside a function.

    `@overload` and `@override` are left out: another definition of the same name carries the docstring.
    """
    yield path, node
    if isinstance(node, AnyFunction):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | AnyFunction) and not child.name.startswith("_"):
            marks = {ast.unparse(mark).rpartition(".")[2] for mark in child.decorator_list}
            if not marks & {"overload", "override", "setter", "deleter"}:
                yield from public_parts(child, f"{path}:{child.lineno} {child.name}")


def has_docstrings(module: Module) -> Iterator[str]:
    """Every module, public class, public function and test says what it is for."""
    for name, node in public_parts(module.tree, module.path):
        if not ast.get_docstring(node):
            yield f"{name} has no docstring"


RULES: tuple[Rule, ...] = (
    has_telling_names,
    has_docstrings,
)


@pytest.mark.parametrize("rule", RULES)
def test_the_repository_keeps_the_rule(rule: Rule) -> None:
    """Nothing in the sources, the tests and the benches breaks the rule."""
    findings = [finding for module in repository() for finding in rule(module)]
    assert not findings, "\n".join(findings)


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (has_telling_names, "jobs/utils.py", ""),
        (has_telling_names, "images/mask_helpers.py", ""),
        (has_telling_names, "tests/common/fakes.py", ""),
        (has_telling_names, "jobs/record.py", "class JobManager: ..."),
        (has_docstrings, "jobs/record.py", "x = 1"),
        (has_docstrings, "jobs/record.py", '"""Said."""\ndef work(): ...'),
        (has_docstrings, "jobs/record.py", '"""Said."""\nclass Job:\n    """Said."""\n    def work(self): ...'),
        (has_docstrings, "tests/test_jobs.py", '"""Said."""\nasync def test_a_job_ends(): ...'),
    ],
)
def test_a_rule_finds_what_breaks_it(rule: Rule, path: str, text: str) -> None:
    """A snippet that breaks the rule is found, once."""
    assert len(list(rule(Module.parse(path, text)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (has_telling_names, "jobs/managing.py", "class Commonplace: ..."),
        (has_docstrings, "jobs/record.py", '"""Said."""\nclass _Private:\n    def work(self): ...'),
        (has_docstrings, "jobs/record.py", '"""Said."""\ndef _work():\n    def inner(): ...'),
    ],
)
def test_a_rule_leaves_good_code_alone(rule: Rule, path: str, text: str) -> None:
    """A snippet that keeps the rule passes."""
    assert list(rule(Module.parse(path, text))) == []
