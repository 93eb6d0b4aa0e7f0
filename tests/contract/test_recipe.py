"""The recipe in `providers/README.md` is a working adapter."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from controlnet_mcp import providers
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import ADAPTERS, adapter_class, build_table
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, ResolvedRequest
from tests.contract.provider_contract import CONTRACT, MARK, Check
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house

pytestmark = pytest.mark.anyio
README = Path(providers.__path__[0]) / "README.md"
BASE_URL = "https://api.example.com"
VARIABLES = {"EXAMPLE_API_KEY": f"{MARK}-EXAMPLE_API_KEY"}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> type[Provider]:
    """The class that the page defines, as a row of the table."""
    block = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    module = ModuleType("example_adapter")
    exec(compile(block[1], str(README), "exec"), module.__dict__)  # noqa: S102  # our own page
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(ADAPTERS, "example", f"{module.__name__}:ExampleProvider")
    return adapter_class("example")


@pytest.mark.parametrize("check", CONTRACT)
@pytest.mark.usefixtures("registered")
def test_the_recipe_keeps_the_contract(check: Check) -> None:
    """As every other row of the table does."""
    (ready,) = (entry for entry in build_table(VARIABLES, ["example"])[:1])
    (bare,) = (entry for entry in build_table({}, ["example"])[:1])
    assert bare.missing == ("EXAMPLE_API_KEY",)
    check(ready, bare)


async def test_the_recipe_submits_polls_and_fetches(tmp_path: Path, registered: type[Provider]) -> None:
    """The adapter of the page against a service of three answers; the picture goes inline and the key in a header."""
    blobs = BlobStore(tmp_path)
    drawing = house(256)
    received: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        received.append(request)
        match request.method, request.url.path:
            case "POST", "/pictures":
                return httpx2.Response(202, json={"id": "p1", "state": "waiting"})
            case "GET", "/pictures/p1":
                return httpx2.Response(200, json={"id": "p1", "state": "done", "pictures": [f"{BASE_URL}/files/1"]})
            case _:
                return httpx2.Response(200, content=encode_png(drawing))

    provider = registered(registered.settings.read(VARIABLES))
    control = Control(modality="canny", picture=blobs.put_pixels(drawing), is_map=True)
    request = ResolvedRequest(prompt="a house", controls=(control,), width=256, height=256, seed=1, steps=70)
    request = provider.fit(request).request
    runner = Sender(PictureSource(blobs), _nowhere, {"example": httpx2.MockTransport(answer)})
    submission = await submit(runner, provider, request, "our-reference")
    report = await runner.poll(provider, submission.task)
    content = await runner.download(provider, report.outputs[0])
    await runner.aclose()
    body = json.loads(received[0].content)
    assert (body["kind"], body["steps"]) == ("edges", 50)
    assert body["image"].startswith("data:image/png;base64,")
    assert body["client_reference"] == "our-reference"
    assert received[0].headers["authorization"] == f"Bearer {VARIABLES['EXAMPLE_API_KEY']}"
    assert content == encode_png(drawing)


async def _nowhere(url: str) -> bytes:
    raise AssertionError(f"nothing may be fetched from {url}")
