"""What a start does not import: a host starts the server with every window, and its user waits for it.

Each test starts a fresh interpreter, because this one has long imported everything.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import controlnet_mcp

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


def test_a_heavy_import_is_seen() -> None:
    """The measurement itself can fail: an import inside a function counts once it has run."""
    assert imported_by("def draw():\n    import numpy\ndraw()") & HEAVY == {"numpy"}
