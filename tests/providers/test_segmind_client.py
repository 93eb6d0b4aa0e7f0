"""The vendor's own client against the simulated Segmind: what it accepts, it accepts for the vendor's reasons.

Client: segmind 1.3.0 (PyPI). It carries no types, so what is used of it is written down here.
"""

import base64
import importlib
import io
from collections.abc import Generator
from pathlib import Path
from typing import Protocol

import pytest
from PIL import Image

from tests.support.sample_drawings import skeleton
from tests.support.simulators.segmind import KEY, SegmindStudio, segmind
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.studio import as_file

vendor = importlib.import_module("segmind")
vendor_files = importlib.import_module("segmind.files")
PICTURE = base64.b64encode(as_file(skeleton(128))).decode()


class VendorAnswer(Protocol):
    """The reply to a blocking call (httpx)."""

    content: bytes
    headers: dict[str, str]


class VendorJob(Protocol):
    """A job that was submitted."""

    request_id: str

    def wait(self, timeout: float, interval: float) -> dict[str, object]:
        """Poll until it ended."""
        ...


class VendorFiles(Protocol):
    """The storage."""

    def upload(self, file_paths: Path) -> dict[str, list[str]]:
        """Upload a file."""
        ...


class VendorClient(Protocol):
    """`segmind.SegmindClient`."""

    files: VendorFiles

    def run_sync(self, slug: str, **params: object) -> VendorAnswer:
        """v1."""
        ...

    def submit_async(self, slug: str, **params: object) -> VendorJob:
        """v2."""
        ...


@pytest.fixture
def studio() -> Generator[SegmindStudio]:
    """A simulated Segmind that serves."""
    listening = free_socket()
    state = SegmindStudio(origin=origin_of(listening))
    with running(segmind(state), listening):
        yield state


@pytest.fixture
def client(studio: SegmindStudio) -> Generator[VendorClient]:
    """The vendor's client, redirected; its connections have to be closed behind its back."""
    redirected: VendorClient = vendor.SegmindClient(api_key=KEY, base_url=f"{studio.origin}/v1")
    yield redirected
    vars(redirected)["_client"].close()


def test_a_blocking_call_gives_a_picture(client: VendorClient, studio: SegmindStudio) -> None:
    """v1: bytes, and the accounts in the header."""
    answer = client.run_sync("sd3-med-pose", prompt="a dancer", image=PICTURE, samples=1, base64=False, seed=5)
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (128, 128))
    assert answer.headers["x-seed-value"] == "5"
    assert float(answer.headers["x-remaining-credits"]) == pytest.approx(studio.credits)


def test_a_job_is_submitted_and_waited_for(client: VendorClient, studio: SegmindStudio) -> None:
    """v2: the client takes both addresses from the receipt as they are."""
    job = client.submit_async("sdxl-controlnet", prompt="a dancer", image=PICTURE, cn_model="sdxl_openpose")
    result = job.wait(timeout=10, interval=0.0)
    assert result["status"] == "COMPLETED"
    assert str(result["output"]).startswith(studio.origin)
    assert [row.path for row in studio.received][1:] == [
        f"/v2/requests/{job.request_id}/status",
        f"/v2/requests/{job.request_id}/status",
        f"/v2/requests/{job.request_id}",
    ]


def test_a_failed_job_is_understood(client: VendorClient) -> None:
    """FAILED as HTTP 422."""
    job = client.submit_async("sd1.5-controlnet-depth", prompt="a dancer", image=PICTURE, num_inference_steps=1)
    with pytest.raises(vendor.InferenceFailed) as caught:
        job.wait(timeout=10, interval=0.0)
    assert "num_inference_steps" in vars(caught.value)["detail"]


def test_an_uploaded_file_can_be_drawn_on(
    client: VendorClient, studio: SegmindStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link that storage gives serves as control picture."""
    monkeypatch.setattr(vendor_files.Files, "STORAGE_BASE_URL", studio.origin)
    path = tmp_path / "control.png"
    path.write_bytes(as_file(skeleton(128)))
    (link,) = client.files.upload(path)["file_urls"]
    job = client.submit_async("flux-depth-dev", prompt="a dancer", control_image=link)
    assert job.wait(timeout=10, interval=0.0)["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"credits": 0.0}, 406, "Insufficient credits"),
        ({"retired": {"sd3-med-pose"}}, 410, "deprecated"),
        ({"without_v2": {"sd3-med-pose"}}, 404, "not found"),
    ],
)
def test_refusals_reach_the_client(
    changes: dict[str, object], status: int, words: str, client: VendorClient, studio: SegmindStudio
) -> None:
    """With the status and the vendor's sentence."""
    for name, value in changes.items():
        setattr(studio, name, value)
    with pytest.raises(vendor.SegmindError) as caught:
        client.submit_async("sd3-med-pose", prompt="a dancer", image=PICTURE)
    assert vars(caught.value)["status"] == status
    assert words in vars(caught.value)["detail"]


def test_a_wrong_verb_is_answered_with_a_web_page(client: VendorClient) -> None:
    """405 is the one error that is not JSON."""
    answer = vars(client)["_client"].get("/sd3-med-pose")
    assert (answer.status_code, answer.headers["content-type"]) == (405, "text/html; charset=utf-8")


def test_a_missing_key_is_refused(client: VendorClient) -> None:
    """Under its own sentence."""
    del vars(client)["_client"].headers["x-api-key"]
    with pytest.raises(vendor.SegmindError) as caught:
        client.run_sync("sd3-med-pose", prompt="a dancer", image=PICTURE)
    assert vars(caught.value) == {"status": 401, "detail": "Missing Authorization or x-api-key in header"}
