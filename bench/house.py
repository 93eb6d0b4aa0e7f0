"""How the sources are cut, beside the aims: files, lines, functions used once, modules with one importer, floors.

A private function (`_name`, no dunder) counts as used once when its module names it at most once outside its
definition. A floor is a step of imports inside one folder: a module that imports none of its folder is on the first.
Sources are the folders that `.hatch/editable/controlnet_mcp` links to. Run: `python -m bench.house`.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.support.command import run

ROOT = Path(__file__).parents[1]
PACKAGE = "controlnet_mcp"
LINKS = ROOT / ".hatch" / "editable" / PACKAGE
MOST_FILES, MOST_LINES = 150, 19_500
MOST_USED_ONCE_PERCENT, MOST_WITH_ONE_IMPORTER = 25, 25
FOLDER_TARGETS: Mapping[str, tuple[int, int]] = {"jobs": (16, 6)}
"""The most modules and floors of a folder, where that is an aim."""


@dataclass(frozen=True)
class Module:
    """One source file.

    Attributes:
        name: As it is imported.
        path: Where it is.
        text: What is in it.
    """

    name: str
    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> "Module":
        """Read a file."""
        parts = (PACKAGE, *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        return cls(name, path, path.read_text(encoding="utf-8"))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Its syntax, flat."""
        return tuple(ast.walk(ast.parse(self.text)))

    @property
    def lines(self) -> int:
        """Its lines."""
        return len(self.text.splitlines())

    @property
    def folder(self) -> str:
        """The source folder that it is in."""
        return self.path.relative_to(ROOT).parts[0]

    def imports(self, known: Mapping[str, "Module"]) -> set[str]:
        """The names of other modules of ours that it imports, wherever in it."""
        found: set[str] = set()
        for node in self.nodes:
            match node:
                case ast.ImportFrom(module=str(module), names=names, level=0):
                    inner = (f"{module}.{alias.name}" for alias in names)
                    found.update(name if name in known else module for name in inner)
                case ast.Import(names=names):
                    found.update(alias.name for alias in names)
                case _:
                    pass
        return {name for name in found if name in known and name != self.name}

    def private_functions(self) -> Iterator[tuple[str, int]]:
        """Each private function, and how often the module uses its name."""
        names = Counter(node.id for node in self.nodes if isinstance(node, ast.Name))
        names += Counter(node.attr for node in self.nodes if isinstance(node, ast.Attribute))
        functions = (node.name for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        yield from ((name, names[name]) for name in functions if name.startswith("_") and not name.startswith("__"))


def floors(imports: Mapping[str, set[str]]) -> int:
    """The longest way down through imports, in modules; a way ends where it would come back to itself."""
    heights: dict[str, int] = {}

    def height(name: str, above: frozenset[str]) -> int:
        if name not in heights:
            way = above | {name}
            heights[name] = 1 + max((height(below, way) for below in imports[name] - way), default=0)
        return heights[name]

    return max((height(name, frozenset()) for name in imports), default=0)


def show(title: str, figure: float, most: float | None = None) -> None:
    """Print a figure beside the most that it should be."""
    aim = "" if most is None else f"{most:9,.0f}  {'holds' if figure <= most else 'missed'}"
    print(f"{title:<44}{figure:9,.0f}{aim}")


def main() -> None:
    """Count and print."""
    folders = sorted(link.name for link in LINKS.iterdir())
    read = (Module.read(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    modules = {module.name: module for module in read}
    imports = {name: module.imports(modules) for name, module in modules.items()}
    importers = Counter(target for targets in imports.values() for target in targets)
    one = [name for name, module in modules.items() if importers[name] == 1 and not module.path.stem.startswith("__")]
    uses = [times for module in modules.values() for _, times in module.private_functions()]
    once = sum(times <= 1 for times in uses)
    print(f"{'':<44}{'now':>9}{'at most':>9}")
    show("source files", len(modules), MOST_FILES)
    show("source lines", sum(module.lines for module in modules.values()), MOST_LINES)
    show("private functions used at most once, percent", 100 * once / max(len(uses), 1), MOST_USED_ONCE_PERCENT)
    show(f"  {once} of {len(uses)}", once)
    show("modules imported by exactly one other", len(one), MOST_WITH_ONE_IMPORTER)
    for folder in folders:
        inside = {name for name, module in modules.items() if module.folder == folder}
        most_modules, most_floors = FOLDER_TARGETS.get(folder, (None, None))
        show(f"{folder}/: modules", len(inside), most_modules)
        show(f"{folder}/: lines", sum(modules[name].lines for name in inside))
        show(f"{folder}/: floors", floors({name: imports[name] & inside for name in inside}), most_floors)


if __name__ == "__main__":
    run(main)
