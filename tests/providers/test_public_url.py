"""A provider that takes only links, and a picture that only we have: it fetches it from our own signed `/files/`."""

import base64
import json
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp_types import TextContent

from controlnet_mcp.images.encode import encode_png
from tests.support.hosted_providers import serving
from tests.support.sample_drawings import house
from tests.support.server_process import Place, serving_http
from tests.support.simulators.serving import free_socket, origin_of

pytestmark = pytest.mark.anyio


async def test_a_picture_without_a_link_reaches_the_provider_through_our_files(tmp_path: Path) -> None:
    """Over HTTP, with `PUBLIC_URL` set: the simulator follows the link that it was sent, and draws what it found."""
    listening = free_socket()
    origin = origin_of(listening)
    listening.close()
    port = int(origin.rpartition(":")[2])
    picture = f"data:image/png;base64,{base64.b64encode(encode_png(house(256))).decode()}"
    place = Place(tmp_path / "data", tmp_path)
    with serving("zhiqite") as service:
        variables = {**service.variables, "CONTROLNET_MCP_PUBLIC_URL": origin}
        with serving_http(place, port, **variables):
            async with Client(f"{origin}/mcp") as client:
                answer = await client.call_tool(
                    "controlnet_generate",
                    {
                        "prompt": "a house",
                        "control_image": picture,
                        "provider": "zhiqite",
                        "width": 256,
                        "height": 256,
                        "wait_seconds": 20,
                    },
                )
        submitted = json.loads(service.studio.received[0].body)
    text = answer.content[0]
    assert isinstance(text, TextContent)
    assert json.loads(text.text)["status"] == "succeeded"
    link = submitted["alwayson_scripts"]["controlnet"]["args"][0]["image_link"]
    assert link.startswith(f"{origin}/files/")
    assert "signature=" in link
    assert service.studio.charges == 1
