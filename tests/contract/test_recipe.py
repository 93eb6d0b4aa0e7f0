"""The recipe in `providers/README.md` is a working adapter."""

import json
import re
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from controlnet_mcp import providers
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, ResolvedRequest
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house

pytestmark = pytest.mark.anyio
README = Path(providers.__path__[0]) / "README.md"
BASE_URL = "https://api.example.com"


def recipe() -> type[Provider]:
    """The class that the page defines."""
    block = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    names: dict[str, type[Provider]] = {}
    exec(compile(block[1], str(README), "exec"), names)  # noqa: S102  # our own page
    return names["ExampleProvider"]


async def test_the_recipe_submits_polls_and_fetches(tmp_path: Path) -> None:
    """The adapter of the page against a service of three answers; the picture goes inline and the key in a header."""
    blobs = BlobStore(tmp_path)
    drawing = house(256)
    received: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        received.append(request)
        match request.method, request.url.path:
            case "POST", "/pictures":
                return httpx2.Response(202, json={"id": "p1", "state": "new"})
            case "GET", "/pictures/p1":
                return httpx2.Response(200, json={"id": "p1", "state": "done", "picture": f"{BASE_URL}/files/1"})
            case _:
                return httpx2.Response(200, content=encode_png(drawing))

    provider = recipe()(BASE_URL, SecretStr("canary"))  # type: ignore[call-arg]
    control = Control(modality="canny", picture=blobs.put_pixels(drawing), is_map=True)
    request = ResolvedRequest(prompt="a house", controls=(control,), width=256, height=256, seed=1)
    runner = Sender(PictureSource(blobs), _nowhere, {"example": httpx2.MockTransport(answer)})
    submission = await submit(runner, provider, request, "our-reference")
    report = await runner.poll(provider, submission.task)
    content = await runner.download(provider, report.outputs[0])
    await runner.aclose()
    body = json.loads(received[0].content)
    assert body["kind"] == "edges"
    assert body["image"].startswith("data:image/png;base64,")
    assert body["client_reference"] == "our-reference"
    assert received[0].headers["authorization"] == "Bearer canary"
    assert content == encode_png(drawing)


async def _nowhere(url: str) -> bytes:
    raise AssertionError(f"nothing may be fetched from {url}")
