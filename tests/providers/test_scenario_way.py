"""Scenario from end to end: the adapter and the sender against the simulator, over real HTTP."""

from collections.abc import Generator

import cv2
import numpy as np
import pytest

from controlnet_mcp.foundation.limits import Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import decode
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.scenario.adapter import ScenarioProvider
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, RemoteTask, Report, ResolvedRequest
from tests.providers.test_scenario import CUSTOM, FLUX, SD15, SDXL, provider, request
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house
from tests.support.simulators.scenario import STATUSES, ScenarioSimulator
from tests.support.simulators.scenario_store import refused
from tests.support.simulators.serving import free_socket, origin_of, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def simulator() -> Generator[ScenarioSimulator]:
    """A running simulator."""
    listening = free_socket()
    service = ScenarioSimulator(origin_of(listening))
    with running(service.app(), listening):
        yield service


@pytest.fixture
def adapter(simulator: ScenarioSimulator) -> ScenarioProvider:
    """An adapter that speaks to the simulator."""
    return provider(f"{simulator.origin}/v1")


def lines() -> Rgb:
    """The edges of a drawn house, white on black: a ready map."""
    edges: Rgb = np.repeat(cv2.Canny(house(512), 100, 200)[:, :, None], 3, axis=2).astype(np.uint8)
    return edges


def resolved_request(picture: StoredPicture, *, is_map: bool = True, **changes: object) -> ResolvedRequest:
    """A settled request with a stored picture."""
    control = Control(modality="canny", picture=picture, is_map=is_map)
    return provider().fit(request(controls=(control,), **changes)).request


async def finished(sender: Sender, adapter: ScenarioProvider, task: RemoteTask) -> list[Report]:
    """All reports until the task ends."""
    reports: list[Report] = []
    while not reports or reports[-1].phase in {"queued", "running"}:
        reports.append(await sender.poll(adapter, task))
        assert len(reports) < 20
    return reports


def shows(result: bytes, control_map: Rgb) -> bool:
    """Whether a result is clearly brighter where the map has lines, as the simulator paints them."""
    painted = decode(result, Limits())
    lit = cv2.resize(control_map, (painted.shape[1], painted.shape[0]))[:, :, 0] > 128
    return bool(painted[lit].mean() > painted[~lit].mean() + 30)


@pytest.mark.parametrize("model", [SDXL, FLUX, SD15, CUSTOM])
async def test_the_whole_way(
    simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender, blobs: BlobStore, model: str
) -> None:
    """Submit, poll through every status, look at the asset, fetch: two pictures with the structure of the map."""
    asked = resolved_request(blobs.put_pixels(lines()), model=model, num_images=2, width=640, height=512)
    submission = await submit(sender, adapter, asked, "ours")
    reports = await finished(sender, adapter, submission.task)
    assert [report.stage for report in reports] == list(STATUSES[1:])
    contents = [await sender.download(adapter, output) for output in reports[-1].outputs]
    assert len(contents) == 2
    assert all(shows(content, lines()) for content in contents)
    assert decode(contents[0], Limits()).shape == (512, 640, 3)
    assert simulator.studio.charges == 1
    assert submission.report.cost is not None
    assert submission.report.cost.amount == 10


async def test_the_vendor_makes_the_map_of_a_photo(adapter: ScenarioProvider, sender: Sender, blobs: BlobStore) -> None:
    """With detection on, the result has the edges of the drawing."""
    submission = await submit(sender, adapter, resolved_request(blobs.put_pixels(house(512)), is_map=False), "ours")
    report = (await finished(sender, adapter, submission.task))[-1]
    assert shows(await sender.download(adapter, report.outputs[0]), lines())


async def test_the_siblings_are_accepted(
    simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender, blobs: BlobStore
) -> None:
    """Image-to-image, inpainting, IP-adapter and texture, each at its own endpoint."""
    picture = blobs.put_pixels(house(512))
    for asked in (
        resolved_request(picture, init_image=picture),
        resolved_request(picture, init_image=picture, mask_image=picture, options={"disable_merging": True}),
        resolved_request(picture, options={"ip_adapter_image_ids": ["asset_style"], "ip_adapter_scales": [0.5]}),
        resolved_request(picture, options={"seamless": True, "preset": "character", "preset_weight": 0.9}),
    ):
        await submit(sender, adapter, asked, "ours")
    paths = [row.path.rpartition("/")[2] for row in simulator.studio.received]
    assert paths == ["controlnet-img2img", "controlnet-inpaint", "controlnet-ip-adapter", "controlnet-texture"]
    assert simulator.studio.charges == 4


async def test_a_kept_link_would_not_work(
    simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender, blobs: BlobStore
) -> None:
    """Each download looks at the asset first, so it works every time."""
    submission = await submit(sender, adapter, resolved_request(blobs.put_pixels(lines())), "ours")
    (output,) = (await finished(sender, adapter, submission.task))[-1].outputs
    assert await sender.download(adapter, output) == await sender.download(adapter, output)
    fetched = [row for row in simulator.studio.received if row.path.startswith("/cdn/")]
    assert len({row.query["signature"] for row in fetched}) == 2
    assert all("authorization" not in row.headers for row in fetched)


@pytest.mark.parametrize(("size_bytes", "path"), [(1_500_000, "/v1/assets"), (6_100_000, "/v1/uploads")])
async def test_a_large_picture_is_uploaded_first(
    simulator: ScenarioSimulator,
    adapter: ScenarioProvider,
    sender: Sender,
    blobs: BlobStore,
    size_bytes: int,
    path: str,
) -> None:
    """Below 6 MB as base64, above with a ticket; the submission names the asset, and a second one uploads nothing."""
    asked = resolved_request(padded(blobs, size_bytes))
    for _ in range(2):
        submission = await submit(sender, adapter, asked, "ours")
        await finished(sender, adapter, submission.task)
    assert len(simulator.studio.calls(path)) == 1
    assert simulator.jobs["job_0002"].asked.control_image_id == "asset_0001"


def padded(blobs: BlobStore, size_bytes: int) -> StoredPicture:
    """The map as a stored picture of a certain size: bytes after the end of a PNG mean nothing."""
    stored = blobs.put_pixels(lines())
    content = blobs.get(stored.sha256)
    content += bytes(size_bytes - len(content))
    sha256 = blobs.put(content, "image/png")
    return stored.model_copy(update={"sha256": sha256, "size_bytes": size_bytes})


async def test_the_price_is_asked_without_a_job(
    simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender, blobs: BlobStore
) -> None:
    """HTTP 269, and nothing is charged."""
    asked = resolved_request(blobs.put_pixels(lines()), num_images=3)
    cost = await sender.run(adapter, adapter.price(asked, {}))
    assert cost is not None
    assert (cost.amount, cost.estimated) == (15, True)
    assert simulator.studio.charges == 0
    assert simulator.jobs == {}


@pytest.mark.parametrize("cancels", [True, False])
async def test_cancelling(
    simulator: ScenarioSimulator,
    adapter: ScenarioProvider,
    sender: Sender,
    blobs: BlobStore,
    *,
    cancels: bool,
) -> None:
    """Where the kind can be stopped it is canceled; elsewhere it goes on to its result."""
    simulator.cancels = cancels
    submission = await submit(sender, adapter, resolved_request(blobs.put_pixels(lines())), "ours")
    assert await sender.run(adapter, adapter.cancel(submission.task)) is cancels
    reports = await finished(sender, adapter, submission.task)
    assert reports[-1].phase == ("canceled" if cancels else "succeeded")


async def test_a_failed_job_tells_why(
    simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender, blobs: BlobStore
) -> None:
    """Through the statuses to the failure."""
    simulator.statuses = ("queued", "in-progress", "failure")
    simulator.failure = {"error": "Out of memory", "hint": "Use a smaller size."}
    submission = await submit(sender, adapter, resolved_request(blobs.put_pixels(lines())), "ours")
    fault = (await finished(sender, adapter, submission.task))[-1].fault
    assert fault is not None
    assert "Out of memory" in fault.message


async def test_a_refusal_costs_nothing(
    simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender, blobs: BlobStore
) -> None:
    """A scripted ceiling, and a request that the vendor's own rules refuse."""
    simulator.studio.fail_next("/v1/generate", refused(429, "Too many", details={"actionLimit": 2}))
    asked = resolved_request(blobs.put_pixels(lines()))
    with pytest.raises(ProviderError, match="at once"):
        await submit(sender, adapter, asked, "ours")
    with pytest.raises(ProviderError) as caught:
        await submit(sender, adapter, asked.model_copy(update={"model": "sdxl-that-nobody-has"}), "ours")
    assert (caught.value.code, caught.value.delivery) == ("invalid_request", "refused")
    assert simulator.studio.charges == 0


async def test_models_and_balance(simulator: ScenarioSimulator, adapter: ScenarioProvider, sender: Sender) -> None:
    """All pages of own and public models that have ControlNet; plan units left and bought ones."""
    models = {row.name: row.family for row in await sender.run(adapter, adapter.models())}
    assert models[CUSTOM] == "sdxl"
    assert models[SD15] == "sd1.5"
    assert "flux.1-pro" not in models
    assert await sender.run(adapter, adapter.balance()) == 1240
    simulator.studio.fail_next("/v1/teams/", refused(403, "Forbidden"))
    assert await sender.run(adapter, adapter.balance()) is None


async def test_a_wrong_key_is_told(simulator: ScenarioSimulator, sender: Sender) -> None:
    """By the balance already, which costs nothing."""
    simulator.studio.fail_next("/v1/teams", refused(401, "Unauthorized"))
    adapter = provider(f"{simulator.origin}/v1")
    with pytest.raises(ProviderError) as caught:
        await sender.run(adapter, adapter.balance())
    assert caught.value.code == "unauthorized"
    assert "SCENARIO_API_KEY" in caught.value.hint
