"""ModelsLab: the whole way against its simulator, on both plans and in every layout."""

import json
from collections.abc import Generator
from pathlib import Path

import cv2
import httpx2
import numpy as np
import pytest
from pydantic import SecretStr
from starlette.responses import Response

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.modelslab.adapter import ModelsLabProvider, ModelsLabSettings
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, Report, ResolvedRequest, Submission
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house
from tests.support.simulators.modelslab import COMMUNITY_KEY, ENTERPRISE_KEY, ModelsLabSimulator
from tests.support.simulators.serving import free_socket, origin_of, running

pytestmark = pytest.mark.anyio
SIDE = 256
EXAMPLE = Path(__file__).parents[1] / "support" / "replies" / "modelslab" / "request_example.json"
LINK = "https://pictures.example/house.png"


@pytest.fixture
def simulator() -> Generator[ModelsLabSimulator]:
    """A running simulator."""
    listening = free_socket()
    service = ModelsLabSimulator(origin_of(listening))
    with running(service.app(), listening):
        yield service


def drawing() -> Rgb:
    """A ready line map: white lines on black."""
    result: Rgb = 255 - house(SIDE)
    return result


def adapter(simulator: ModelsLabSimulator, plan: str = "enterprise", **more: object) -> ModelsLabProvider:
    """The adapter, with the key that its plan has."""
    key = SecretStr(ENTERPRISE_KEY if plan == "enterprise" else COMMUNITY_KEY)
    base = {"api_key": key, "plan": plan, "base_url": f"{simulator.origin}/api/"}
    return ModelsLabProvider(ModelsLabSettings.model_validate({**base, **more}))


def request(blobs: BlobStore, **more: object) -> ResolvedRequest:
    """A request with a ready map."""
    control = Control(modality="scribble", picture=blobs.put_pixels(drawing()), is_map=True)
    values: dict[str, object] = {"prompt": "a house", "controls": (control,), "width": SIDE, "height": SIDE, "seed": 5}
    return ResolvedRequest.model_validate(values | more)


async def finished(sender: Sender, provider: ModelsLabProvider, submission: Submission) -> Report:
    """Poll to the end, a few times at most."""
    report = submission.report
    for _ in range(4):
        if report.phase not in {"queued", "running"}:
            break
        report = await sender.poll(provider, submission.task)
    return report


def shows(content: bytes, control_map: Rgb) -> bool:
    """Whether a result is bright where the map has lines, and only there."""
    rgb = decode(content, Limits())
    lines = cv2.resize(control_map, (rgb.shape[1], rgb.shape[0])).mean(axis=2) > 200
    return bool(rgb[lines].mean() > 1.3 * rgb[~lines].mean())


@pytest.mark.parametrize(
    ("plan", "prefix", "trusted"),
    [
        ("enterprise", "/v1/enterprise", True),
        ("enterprise", "/v1/enterprise", False),
        ("enterprise", "/v1/enterprise/images", False),
        ("enterprise", "/v1/enterprise/txt2img", False),
        ("enterprise", "/v1/enterprise/pony", False),
        ("community", "/v1/enterprise", True),
        ("community", "/v1/enterprise", False),
    ],
)
async def test_a_picture_is_drawn_on_the_structure(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender, plan: str, prefix: str, *, trusted: bool
) -> None:
    """Upload, submit once, poll, fetch; where `fetch_result` leads elsewhere, the plan's own path is asked."""
    simulator.fetch_origin = None if trusted else "https://elsewhere.example"
    provider = adapter(simulator, plan, enterprise_prefix=prefix)
    resolved = provider.fit(request(blobs, num_images=2)).request
    submission = await submit(sender, provider, resolved, "our-reference")
    assert submission.report.phase == "running"
    report = await finished(sender, provider, submission)
    contents = [await sender.download(provider, output) for output in report.outputs]
    assert [shows(content, drawing()) for content in contents] == [True, True]
    assert report.seed == 5
    assert simulator.studio.charges == 1
    assert len(simulator.studio.calls("/api/v6/base64_to_url")) == 1


async def test_the_picture_may_come_with_the_answer(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender
) -> None:
    """No fetch is needed then; the size is the asked one."""
    simulator.asks_until_done = 0
    provider = adapter(simulator)
    submission = await submit(sender, provider, request(blobs, width=320), "our-reference")
    assert submission.report.phase == "succeeded"
    content = await sender.download(provider, submission.report.outputs[0])
    assert decode(content, Limits()).shape == (SIDE, 320, 3)


async def test_base64_needs_no_upload_and_no_link(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender
) -> None:
    """Pictures go inside the request and come inside the reply, and are stored before anything else."""
    provider = adapter(simulator)
    resolved = provider.fit(request(blobs, options={"base64": True})).request
    report = await finished(sender, provider, await submit(sender, provider, resolved, "our-reference"))
    assert report.outputs[0].url is None
    assert report.outputs[0].sha256 is not None
    assert shows(blobs.get(report.outputs[0].sha256), drawing())
    assert not simulator.studio.calls("/api/v6/base64_to_url")


async def test_a_public_link_is_passed_on(simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender) -> None:
    """The vendor fetches it itself, and preprocesses it when it is no map."""
    simulator.web[LINK] = blobs.get(blobs.put_pixels(house(SIDE)).sha256)
    provider = adapter(simulator, "community")
    control = Control(modality="canny", picture=blobs.put_pixels(house(SIDE)), source_url=LINK)
    submission = await submit(sender, provider, request(blobs, controls=(control,)), "our-reference")
    body = json.loads(simulator.studio.calls("/api/v5/controlnet")[0].body)
    assert (body["init_image"], body["control_image"], body["auto_hint"]) == (LINK, LINK, "yes")
    edges = cv2.Canny(cv2.cvtColor(house(SIDE), cv2.COLOR_RGB2GRAY), 80, 160)
    lines: Rgb = np.repeat(np.asarray(edges, dtype=np.uint8)[..., None], 3, axis=2)
    report = await finished(sender, provider, submission)
    assert shows(await sender.download(provider, report.outputs[0]), lines)


async def test_only_the_white_part_of_the_mask_is_repainted(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender
) -> None:
    """The rest is the start picture, pixel by pixel."""
    mask = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    mask[:, SIDE // 2 :] = 255
    start = np.full((SIDE, SIDE, 3), 90, dtype=np.uint8)
    pictures = {"init_image": blobs.put_pixels(start), "mask_image": blobs.put_pixels(mask)}
    provider = adapter(simulator)
    resolved = provider.fit(request(blobs, **pictures)).request
    report = await finished(sender, provider, await submit(sender, provider, resolved, "our-reference"))
    drawn = decode(await sender.download(provider, report.outputs[0]), Limits())
    assert (drawn[:, : SIDE // 2] == 90).all()
    assert (drawn[:, SIDE // 2 :] != 90).any()


async def test_a_blanked_picture_is_flagged(simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender) -> None:
    """The safety checker replaces it; the result says so."""
    provider = adapter(simulator)
    submission = await submit(sender, provider, request(blobs, prompt="something nsfw"), "our-reference")
    report = await finished(sender, provider, submission)
    assert [row.flagged for row in report.outputs] == [True]


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_wrong_key_and_a_full_queue_are_told(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender, *, legacy: bool
) -> None:
    """By HTTP status, and inside HTTP 200 as `messege`; nothing was bought."""
    simulator.legacy = legacy
    simulator.asks_until_done = 9
    wrong = adapter(simulator, api_key=SecretStr("wrong-key"))
    with pytest.raises(ProviderError) as unknown:
        await submit(sender, wrong, request(blobs), "our-reference")
    assert (unknown.value.code, unknown.value.delivery) == ("unauthorized", "not_sent")
    for index in range(5):
        await submit(sender, adapter(simulator), request(blobs), f"reference-{index}")
    with pytest.raises(ProviderError) as full:
        await submit(sender, adapter(simulator), request(blobs), "our-reference")
    assert (full.value.code, full.value.delivery) == ("rate_limited", "refused")
    assert simulator.studio.charges == 5


async def test_a_plan_that_the_key_does_not_have_is_told(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender
) -> None:
    """A community key on enterprise paths: the hint names the setting."""
    provider = adapter(simulator, api_key=SecretStr(COMMUNITY_KEY))
    with pytest.raises(ProviderError) as caught:
        await submit(sender, provider, request(blobs), "our-reference")
    assert caught.value.code == "unauthorized"
    assert "MODELSLAB_PLAN" in caught.value.hint


async def test_a_server_error_leaves_it_open_and_sends_nothing_again(
    simulator: ModelsLabSimulator, blobs: BlobStore, sender: Sender
) -> None:
    """The vendor knows no key by which a second submission would be recognised."""
    simulator.studio.fail_next("/api/v1/enterprise/controlnet", Response("oops", 500))
    with pytest.raises(ProviderError) as caught:
        await submit(sender, adapter(simulator), request(blobs), "our-reference")
    assert caught.value.delivery == "unknown"
    assert len(simulator.studio.calls("/api/v1/enterprise/controlnet")) == 1


async def test_balance_and_models_cost_nothing(simulator: ModelsLabSimulator, sender: Sender) -> None:
    """Two calls that are free."""
    provider = adapter(simulator)
    assert await sender.run(provider, provider.balance()) == 43.6
    assert [row.name for row in await sender.run(provider, provider.models())] == ["my-own-model", "midjourney"]
    assert simulator.studio.charges == 0


REFUSED: tuple[tuple[dict[str, object], int, str], ...] = (
    ({"key": None}, 401, "Invalid API key"),
    ({"prompt": None}, 400, "prompt is required"),
    ({"prompt": 5}, 400, "prompt must be a string"),
    ({"width": "250"}, 400, "width must be between 256 and 1024"),
    ({"height": 515}, 400, "height must be divisible by 8"),
    ({"samples": 5}, 400, "samples must be between 1 and 4"),
    ({"guidance_scale": True}, 400, "guidance_scale must be a number"),
    ({"scheduler": "Euler"}, 400, "scheduler is invalid"),
    ({"auto_hint": True}, 400, "auto_hint must be yes or no"),
    ({"model_id": "nobody"}, 400, "Model not found: nobody"),
    ({"init_image": "https://nowhere.example/a.png"}, 400, "Unable to fetch image from provided URL"),
    ({"controlnet_model": "inpaint"}, 400, "mask_image is required"),
    ({"controlnet_model": "canny,depth", "model_id": "fluxdev"}, 400, "canny,depth is not supported with fluxdev"),
)
"""What is changed in the page's example, and how the vendor refuses it."""


async def test_the_simulator_refuses_what_the_vendor_refuses(simulator: ModelsLabSimulator, blobs: BlobStore) -> None:
    """With the vendor's sentences; the unchanged example of its page is accepted, numbers as text and all."""
    simulator.web[LINK] = blobs.get(blobs.put_pixels(house(SIDE)).sha256)
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"))["body"] | {"key": ENTERPRISE_KEY, "init_image": LINK}
    async with httpx2.AsyncClient(base_url=f"{simulator.origin}/api/v1/enterprise") as client:
        accepted = await client.post("/controlnet", json=example)
        refusals = [await client.post("/controlnet", json=example | change) for change, _, _ in REFUSED]
        malformed = await client.post("/controlnet", content=b"{")
        looked_at = await client.get("/controlnet")
    assert accepted.json()["status"] == "processing"
    assert [(row.status_code, row.json()["message"]) for row in refusals] == [row[1:] for row in REFUSED]
    assert (malformed.status_code, looked_at.status_code) == (400, 405)
    assert looked_at.headers["content-type"].startswith("text/html")
    assert simulator.studio.charges == 1
