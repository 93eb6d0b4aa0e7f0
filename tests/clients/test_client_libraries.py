"""Client libraries against our server: what each makes of our tools and answers, in its own environment.

`.ci/run` installs the pinned versions of `requirements-*.txt` into environments of their own and names their folder in
CONTROLNET_TEST_CLIENTS; without it these tests are skipped. No model is asked: a scripted one answers on this machine.
"""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image
from pydantic import BaseModel

from controlnet_mcp.tools import TOOLS
from tests.clients.scripted_model import ScriptedModel
from tests.support.server_process import STDIO, Place, Web
from tests.support.simulators.serving import free_socket, running

FOLDER = os.environ.get("CONTROLNET_TEST_CLIENTS")
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        FOLDER is None, reason="CONTROLNET_TEST_CLIENTS names no folder with the libraries' environments"
    ),
]
HANDSHAKE = ("mcp_1", "langchain", "google_adk", "smolagents")
CURRENT = ("mcp_2", "fastmcp", "openai_agents", "pydantic_ai", "google_genai", "llama_index")
RUNS = [
    (environment, library, transport)
    for environment, libraries in (("handshake", HANDSHAKE), ("current", CURRENT))
    for library in libraries
    for transport in ("stdio", "http", "sse")
]
FORMS = {
    "langchain": {"openai", "google"},
    "pydantic_ai": {"openai"},
    "openai_agents": {"openai"},
    "smolagents": {"openai"},
    "google_genai": {"google"},
    "google_adk": {"google"},
}
"""Libraries that ask a model, and through whose interface."""
READ_NOTHING = frozenset({"google_adk", "smolagents"})
"""Libraries without a way to read a resource by its URI."""


IMPATIENT = frozenset({("openai_agents", "stdio"), ("google_adk", "stdio")})
"""Clients that give up a call after five seconds while a job takes longer: `next` must be right for them (H2)."""


class Seen(BaseModel):
    """What a program tells."""

    tools: list[str]
    status: str
    same: bool | None


@pytest.fixture
def model(pictures: Path) -> Generator[tuple[ScriptedModel, str]]:
    """A model that has a photo drawn over, and where it listens."""
    with Image.open(pictures / "photo.png") as photo:
        small = io.BytesIO()
        photo.resize((96, 96)).save(small, "PNG")
    picture = f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"
    size = {"width": 128, "height": 128}
    scripted = ScriptedModel({"prompt": "an oil painting", "control_image": picture, "provider": "draft", **size})
    with running(scripted.app(), free_socket()) as origin:
        yield scripted, origin


@pytest.mark.parametrize(("environment", "library", "transport"), RUNS)
def test_a_library_lists_calls_and_reads(
    environment: str, library: str, transport: str, web: Web, model: tuple[ScriptedModel, str], tmp_path: Path
) -> None:
    """H1, H2, H4: seven tools in its own form and its model's, a picture drawn, and the same picture read back."""
    scripted, origin = model
    if (library, transport) in IMPATIENT:
        scripted.arguments["provider_options"] = {"simulate": "queued", "seconds": 11}
    place = Place(tmp_path / "data", web.place.pictures)
    given = {
        "transport": transport,
        "command": [sys.executable, "-c", STDIO],
        "env": place.environment(),
        "url": f"{web.origin}/{'sse' if transport == 'sse' else 'mcp'}",
        "model": origin,
        "arguments": scripted.arguments,
    }
    python = Path(FOLDER or "") / environment / "bin" / "python"
    program = Path(__file__).with_name("programs.py")
    hidden = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ended = subprocess.run(
        [python, "-W", "ignore", program, library],
        input=json.dumps(given),
        env=hidden | {"HOME": str(tmp_path), "OPENAI_AGENTS_DISABLE_TRACING": "1", "DO_NOT_TRACK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert scripted.refused == [], library
    assert ended.returncode == 0, ended.stderr[-4000:]
    seen = Seen.model_validate_json(ended.stdout.splitlines()[-1])
    assert seen.tools == sorted(tool.name for tool in TOOLS)
    assert seen.status == "succeeded"
    assert seen.same is (None if library in READ_NOTHING else True)
    assert {heard.interface for heard in scripted.heard} == FORMS.get(library, set())
    for heard in scripted.heard:
        assert {tool.name for tool in TOOLS} <= heard.tools.keys(), heard.interface
