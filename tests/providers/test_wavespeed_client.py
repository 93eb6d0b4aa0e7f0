"""WaveSpeed's simulator against two clients that were not written for this project: wavespeed and huggingface_hub.

A simulator is believable only when the vendor's own client works against it. Their tasks end at the first look, so
that nothing has to wait.
"""

import io
from collections.abc import Generator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers import PROVIDERS
from huggingface_hub.inference._providers._common import HARDCODED_MODEL_INFERENCE_MAPPING
from PIL import Image
from pydantic import BaseModel
from starlette.responses import JSONResponse
from wavespeed import Client  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]  # ships none

from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.recipes import make_map
from tests.support.edge_recall import chance_of, recall_of
from tests.support.sample_drawings import house
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.wavespeed import KEY, WaveSpeedStudio, wavespeed

CANNY = "wavespeed-ai/flux-control-lora-canny"
UNION = "wavespeed-ai/flux-controlnet-union-pro-2.0"
HUB_NAME = "someone/union-pro"


class Outcome(BaseModel):
    """What `run_no_throw` of the SDK gives."""

    status: str
    outputs: list[str] | None
    task_id: str
    error: str | None


@pytest.fixture
def studio() -> Generator[WaveSpeedStudio]:
    """A running simulator whose tasks end at the first look."""
    listening = free_socket()
    state = WaveSpeedStudio(origin=origin_of(listening), looks_until_done=1)
    with running(wavespeed(state), listening):
        yield state


@pytest.fixture
def client(studio: WaveSpeedStudio) -> Client:
    """The vendor's SDK, redirected; it waits between looks and retries by itself."""
    return Client(KEY, base_url=studio.origin, max_connection_retries=1, retry_interval=0.01)


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """A canny map as a file."""
    Image.fromarray(edges()).save(tmp_path / "map.png")
    return tmp_path / "map.png"


def edges() -> Rgb:
    """A canny map, 576 pixels square."""
    return make_map(house(576), "canny").rgb


def asked(link: str, **more: object) -> dict[str, object]:
    """The inputs of a small picture."""
    return {"prompt": "a house", "control_image": link, "size": "576*576", "seed": 7, **more}


def run(client: Client, inputs: dict[str, object], *, sync: bool = False) -> Outcome:
    """Run the canny model to its end."""
    return Outcome.model_validate(client.run_no_throw(CANNY, inputs, enable_sync_mode=sync, poll_interval=0.01))


def drawn(studio: WaveSpeedStudio, url: str) -> bytes:
    """The content behind a link of the simulator."""
    assert url.startswith(studio.origin)
    return httpx2.get(url).raise_for_status().content


def test_the_sdk_uploads_submits_and_waits(studio: WaveSpeedStudio, client: Client, drawing: Path) -> None:
    """A ticket, a PUT, a submission and a result, which shows the drawing."""
    outcome = run(client, asked(client.upload(str(drawing)), num_images=2))
    assert outcome.status == "completed"
    assert outcome.outputs is not None
    assert len(outcome.outputs) == 2
    with Image.open(io.BytesIO(drawn(studio, outcome.outputs[0]))) as picture:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    assert recall_of(edges(), pixels) > 0.9 > 2 * chance_of(edges(), pixels)
    assert studio.charges == 1


@pytest.mark.parametrize(("waits", "status"), [(True, "completed"), (False, "processing")])
def test_the_sdk_understands_sync_mode(
    studio: WaveSpeedStudio, client: Client, drawing: Path, *, waits: bool, status: str
) -> None:
    """The result at once, or code 5004 with a task that can be asked for later."""
    studio.sync_waits = waits
    outcome = run(client, asked(client.upload(str(drawing))), sync=True)
    assert outcome.status == status
    if not waits:
        assert client.get_result(outcome.task_id)["data"]["status"] == "completed"


@pytest.mark.parametrize("status", ["failed", "cancelled", "timeout", "deleted"])
def test_the_sdk_understands_every_other_end(
    studio: WaveSpeedStudio, client: Client, drawing: Path, status: str
) -> None:
    """Each is told with the vendor's words."""
    studio.ends_as, studio.error = status, ("flagged by moderation", 1200)
    outcome = run(client, asked(client.upload(str(drawing))))
    assert outcome.status == "failed"
    assert f"Prediction {status}" in (outcome.error or "")
    assert "flagged by moderation" in (outcome.error or "")


@pytest.mark.parametrize(
    ("path", "code", "said"),
    [
        (f"/api/v3/{CANNY}", 429, "HTTP 429"),
        (f"/api/v3/{CANNY}", 500, "HTTP 500"),
        ("/api/v3/predictions/", 404, "HTTP 404"),
    ],
)
def test_the_sdk_tells_errors(
    studio: WaveSpeedStudio, client: Client, drawing: Path, path: str, code: int, said: str
) -> None:
    """A submission is sent once, whatever comes back."""
    link = client.upload(str(drawing))
    studio.fail_next(path, JSONResponse({"code": code, "message": "no"}, code))
    outcome = run(client, asked(link))
    assert said in (outcome.error or "")
    assert len(studio.calls(f"/api/v3/{CANNY}")) == 1


def test_the_sdk_asks_again_when_a_look_fails(studio: WaveSpeedStudio, client: Client, drawing: Path) -> None:
    """A 503 while polling ends nothing."""
    link = client.upload(str(drawing))
    studio.fail_next("/api/v3/predictions/", JSONResponse({"code": 503, "message": "busy"}, 503))
    assert run(client, asked(link)).status == "completed"


def test_the_sdk_is_refused_without_a_key_and_with_a_wrong_field(studio: WaveSpeedStudio, client: Client) -> None:
    """HTTP 401 and 400, and nothing is charged."""
    stranger = Client("wrong", base_url=studio.origin)
    assert "HTTP 401" in (run(stranger, asked("https://x.example/1.png")).error or "")
    assert "HTTP 400" in (run(client, asked("https://x.example/1.png", control_scale=3.0)).error or "")
    assert studio.charges == 0


def test_the_hub_draws_through_the_simulator(
    studio: WaveSpeedStudio, client: Client, drawing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """huggingface_hub follows `urls.get`, accepts only four statuses, and gets the first picture."""
    task = PROVIDERS["wavespeed"]["text-to-image"]
    mapping = InferenceProviderMapping(  # type: ignore[no-untyped-call]  # the library leaves it open
        provider="wavespeed", hf_model_id=HUB_NAME, providerId=UNION, task="text-to-image", status="live"
    )
    monkeypatch.setattr(task, "base_url", studio.origin)
    monkeypatch.setattr("huggingface_hub.inference._providers.wavespeed._POLLING_INTERVAL", 0.0)
    monkeypatch.setattr("huggingface_hub.utils._detect_agent._registry", {})  # else it asks huggingface.co for one
    monkeypatch.setitem(HARDCODED_MODEL_INFERENCE_MAPPING["wavespeed"], HUB_NAME, mapping)
    hub = InferenceClient(provider="wavespeed", api_key=KEY)
    extra = {"control_image": client.upload(str(drawing)), "size": "576*576", "output_format": "png"}
    picture = hub.text_to_image("a house", model=HUB_NAME, guidance_scale=3.0, seed=7, extra_body=extra)
    pixels = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    assert recall_of(edges(), pixels) > 0.9
    assert studio.charges == 1
