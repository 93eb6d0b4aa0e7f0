"""What a start does not import: a host starts the server with every window, and its user waits for it.

Each test starts a fresh interpreter, because this one has long imported everything.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import controlnet_mcp
from controlnet_mcp.providers.registry import NAMES

LEFT = Path(__file__).with_name("durability") / "data_folders" / "027f12d.zip"
"""A data folder of a killed server, with jobs of a hosted provider that had not ended."""
HEAVY = frozenset(
    {"numpy", "cv2", "PIL", "skimage", "scipy", "rich", "onnxruntime", "psycopg", "procrastinate", "obstore"}
)
"""Top-level packages that only some calls need. `uvicorn` and `starlette` are not here: `import mcp` brings them."""

SDK = frozenset({"mcp", "mcp_types", "httpx2", "pydantic"})
"""What takes most of half a second, and a printed line of help does not need."""


def imported_by(code: str) -> set[str]:
    """Run code in a fresh interpreter that finds the same package as this one.

    Returns:
        The top-level names in `sys.modules` at its end.
    """
    roots = os.pathsep.join(str(Path(portion).parent) for portion in controlnet_mcp.__path__)
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"],
        env={**os.environ, "PYTHONPATH": roots},
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    modules: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return {name.partition(".")[0] for name in modules}


def test_serving_stdio_imports_nothing_heavy() -> None:
    """The module that serves stdio leaves pictures, terminals and big stores to the calls that need them."""
    assert imported_by("import controlnet_mcp.server.transports.stdio") & HEAVY == set()


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_command_answers_before_it_imports_the_sdk(option: str) -> None:
    """A word about itself costs no more than the command line."""
    code = f"""
import sys
from controlnet_mcp.server.cli import main
sys.argv = ["controlnet-mcp", {option!r}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""
    assert imported_by(code) & (HEAVY | SDK) == set()


WATCHED = """
import importlib.abc, json, sys, threading

class Watch(importlib.abc.MetaPathFinder):
    def __init__(self):
        self.found, self.any = {}, threading.Event()

    def find_spec(self, name, path, target=None):
        if name.startswith("controlnet_mcp.providers.") and name.endswith(".adapter"):
            self.found[name.split(".")[2]] = threading.current_thread() is threading.main_thread()
            self.any.set()

watch = Watch()
sys.meta_path.insert(0, watch)
import anyio
from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.settings import Settings
from tests.support.mcp_session import open_session
watch.found.pop("draft", None)  # the engine that is part of the server
watch.any.clear()
settings = Settings.model_validate({"data_dir": sys.argv[1], "allowed_dirs": (sys.argv[1],), "keys": {}})

async def start():
    async with open_session(settings) as session:
        await session.client.list_tools()

async def use():
    async with open_session(settings) as session:
        assert watch.found == {}
        await session.call("list_modalities")

async def resume():
    async with open_application(settings):
        await anyio.to_thread.run_sync(watch.any.wait, 30)

anyio.run(globals()[sys.argv[2]])
print(json.dumps(watch.found))
"""
"""Notes which adapters are imported, and whether in the thread of the event loop."""


def adapters_imported(work: str, data_dir: Path) -> dict[str, bool]:
    """The adapters that some work in a fresh interpreter imports, and which of them hold up the event loop."""
    roots = [str(Path(portion).parent) for portion in controlnet_mcp.__path__]
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, str(data_dir), work],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*roots, str(Path(__file__).parents[1])])},
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, bool] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_f5_a_start_imports_no_adapter(tmp_path: Path) -> None:
    """F5: a server that only lists its tools needs none of them."""
    assert adapters_imported("start", tmp_path) == {}


def test_f5_adapters_are_imported_beside_the_event_loop(tmp_path: Path) -> None:
    """F5: the first call that asks for providers imports them in a worker thread."""
    found = adapters_imported("use", tmp_path)
    assert found == dict.fromkeys(set(NAMES) - {"draft"}, False)


def test_f5_a_job_of_an_earlier_run_imports_its_own_adapter_only(tmp_path: Path) -> None:
    """F5: it is driven on before any call; its adapter is imported in a worker thread as well."""
    with zipfile.ZipFile(LEFT) as archive:
        archive.extractall(tmp_path / "data")
    assert adapters_imported("resume", tmp_path / "data") == {"wavespeed": False}


def test_a_heavy_import_is_seen() -> None:
    """The measurement itself can fail: an import inside a function counts once it has run."""
    assert imported_by("def draw():\n    import numpy\ndraw()") & HEAVY == {"numpy"}
