"""fal's simulator against two clients that were not written for this project: fal_client and huggingface_hub.

Both have fixed addresses (`queue.fal.run`, `rest.fal.ai`, `v3.fal.media`), of which fal_client lets the environment
change only the queue's, and only before it is imported. Both follow `HTTPS_PROXY` and `SSL_CERT_FILE`: that is the way
taken here, so that nothing of theirs is patched and the URLs are those of the real service. Their requests end at the
first look, so that nothing has to wait.
"""

import io
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import httpx2
import numpy as np
import pytest
from fal_client import Completed, FalClientHTTPError, InProgress, Queued, Status, SyncClient, encode
from huggingface_hub import InferenceClient, close_session
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers._common import HARDCODED_MODEL_INFERENCE_MAPPING
from PIL import Image
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlnet_mcp.images.encode import encode_png
from controlnet_mcp.images.maps.arrays import Rgb
from controlnet_mcp.images.maps.recipes import make_map
from tests.support.conversations import FOLDER, recorded
from tests.support.edge_recall import chance_of, recall_of
from tests.support.sample_drawings import house
from tests.support.simulators.fal import FLAGGED, KEY, TIMED_OUT, Failure, FalStudio, fal
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.tunnel import tunnelling

NAMES = frozenset({"queue.fal.run", "queue.falrun.com", "rest.fal.ai", "v3.fal.media"})
UNION = "fal-ai/sdxl-controlnet-union"
CANNY = "fal-ai/flux-control-lora-canny"
REPLIES = FOLDER / "fal"
SENT_AGAIN = {"error_409", "error_429", "error_502_ingress"}
"""Errors after which the client sends a submission again."""
HUB_NAME = "someone/control-lora-canny"


class Picture(BaseModel):
    """A result's picture."""

    url: str
    width: int
    height: int
    content_type: str


class Result(BaseModel):
    """A result, as far as it is read here."""

    images: list[Picture]
    seed: int
    has_nsfw_concepts: list[bool]


def parting(app: ASGIApp) -> ASGIApp:
    """End each connection with its reply, since neither client can be closed with all that it has opened."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def part(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await app(scope, receive, part)

    return serve


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[FalStudio]:
    """A running simulator under the vendor's names, whose requests end at the first look."""
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "https_proxy", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    listening = free_socket()
    state = FalStudio(origin="https://queue.fal.run", media_origin="https://v3.fal.media", looks_until_done=1)
    with running(parting(fal(state)), listening), tunnelling(NAMES, origin_of(listening), tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield state


@pytest.fixture
def client(studio: FalStudio) -> SyncClient:
    """The vendor's client; it reads the proxy from the environment with its first request."""
    assert studio.looks_until_done == 1
    return SyncClient(key=KEY, default_timeout=10.0)


def edges() -> Rgb:
    """A canny map, 576 pixels square."""
    return make_map(house(576), "canny").rgb


def inline() -> str:
    """The same as a data URI, made by the vendor's client."""
    return encode(encode_png(edges()), "image/png")


def asked(**more: object) -> dict[str, object]:
    """The inputs of a small picture for the union model."""
    return {"prompt": "a house", "canny_image_url": inline(), "canny_preprocess": False, "seed": 7, **more}


def pixels(content: bytes) -> Rgb:
    """A delivered picture."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def test_the_client_submits_looks_and_fetches(studio: FalStudio, client: SyncClient) -> None:
    """Queued, in progress, completed; then two pictures that show the drawing. Charged once."""
    studio.looks_until_done = 3
    handle = client.submit(UNION, asked(num_images=2, format="png"))
    assert handle.status() == Queued(position=0)
    assert handle.status(with_logs=True) == InProgress(logs=[])
    done = handle.status()
    assert isinstance(done, Completed)
    assert done.error is None
    result = Result.model_validate(handle.get(interval=0))
    assert [(row.width, row.height, row.content_type) for row in result.images] == [(576, 576, "image/png")] * 2
    assert (result.seed, result.has_nsfw_concepts) == (7, [False, False])
    first = pixels(httpx2.get(result.images[0].url).raise_for_status().content)
    assert recall_of(edges(), first) > 0.9 > 2 * chance_of(edges(), first)
    assert studio.charges == 1


def test_the_client_leaves_the_end_of_the_models_name_out_of_later_addresses(
    studio: FalStudio, client: SyncClient
) -> None:
    """Submitted under the whole name; looked at under owner and app, as the receipt says and as the client builds."""
    model = f"{CANNY}/image-to-image"
    inputs = {"prompt": "a house", "control_lora_image_url": inline(), "image_url": inline(), "strength": 0.5}
    handle = client.submit(model, inputs)
    assert handle.status_url == f"https://queue.fal.run/{CANNY}/requests/{handle.request_id}/status"
    assert isinstance(client.status(model, handle.request_id), Completed)
    assert len(Result.model_validate(client.result(model, handle.request_id)).images) == 1
    assert studio.received[0].path == f"/{model}"


def test_the_client_sends_webhook_priority_and_patience(studio: FalStudio, client: SyncClient) -> None:
    """The webhook is a query parameter, the others are header fields."""
    client.submit(UNION, asked(), webhook_url="https://a.example/hook", priority="low", start_timeout=30)
    sent = studio.received[0]
    assert sent.query == {"fal_webhook": "https://a.example/hook"}
    assert (sent.headers["x-fal-queue-priority"], sent.headers["x-fal-request-timeout"]) == ("low", "30.0")
    assert sent.headers["authorization"] == f"Key {KEY}"


@pytest.mark.parametrize("repository", ["fal_v3", "fal"])
def test_the_client_uploads_both_ways(
    studio: FalStudio, client: SyncClient, repository: Literal["fal_v3", "fal"]
) -> None:
    """To the files' host under a token, and by ticket and PUT; the link is then drawn from."""
    content = encode_png(edges())
    link = client.upload(content, "image/png", "map.png", repository=repository, fallback_repository=repository)
    assert link.startswith("https://v3.fal.media/files/in/")
    assert httpx2.get(link).content == content
    assert len(Result.model_validate(client.subscribe(UNION, asked(canny_image_url=link), interval=0)).images) == 1
    paths = [row.path for row in studio.received]
    assert ("/files/upload" in paths, "/storage/upload/initiate" in paths) == (
        repository == "fal_v3",
        repository == "fal",
    )


@pytest.mark.parametrize("looks", [0, 1])
def test_the_client_cancels(studio: FalStudio, client: SyncClient, looks: int) -> None:
    """In the queue and at work; the request then counts as completed with an error."""
    studio.looks_until_done = 3
    handle = client.submit(UNION, asked())
    for _ in range(looks):
        handle.status()
    handle.cancel()
    done = handle.status()
    assert isinstance(done, Completed)
    assert done.error_type == "client_cancelled"
    with pytest.raises(FalClientHTTPError) as caught:
        handle.get(interval=0)
    assert (caught.value.status_code, caught.value.error_type) == (499, "client_cancelled")


def test_the_client_cannot_cancel_what_has_ended(client: SyncClient) -> None:
    """HTTP 400, `ALREADY_COMPLETED`; and 404 for a request that nobody knows."""
    handle = client.submit(UNION, asked())
    handle.get(interval=0)
    with pytest.raises(FalClientHTTPError) as caught:
        handle.cancel()
    assert caught.value.response.json() == {"status": "ALREADY_COMPLETED"}
    with pytest.raises(FalClientHTTPError) as unknown:
        client.cancel(UNION, "nobody")
    assert (unknown.value.status_code, unknown.value.response.json()) == (404, {"status": "NOT_FOUND"})


@pytest.mark.parametrize(
    ("failure", "said", "error_type"),
    [(FLAGGED, None, None), (TIMED_OUT, "Request timed out", "request_timeout")],
)
def test_the_client_understands_both_kinds_of_failure(
    studio: FalStudio, client: SyncClient, failure: Failure, said: str | None, error_type: str | None
) -> None:
    """A model's refusal is only in the result; a fault of the platform is in the status as well."""
    studio.failure = failure
    handle = client.submit(UNION, asked())
    done = handle.status()
    assert isinstance(done, Completed)
    assert (done.error, done.error_type) == (said, error_type)
    with pytest.raises(FalClientHTTPError) as caught:
        handle.get(interval=0)
    assert (caught.value.status_code, caught.value.error_type) == (failure.status, error_type)
    assert caught.value.response.json() == failure.body


@pytest.mark.parametrize(
    ("change", "loc", "kind"),
    [
        ({"controlnet_conditioning_scale": 1.5}, ["body", "controlnet_conditioning_scale"], "less_than_equal"),
        ({"steps": 3}, ["body", "steps"], "extra_forbidden"),
        ({"canny_image_url": "https://nobody.example/1.png"}, ["body", "canny_image_url"], "file_download_error"),
    ],
)
@pytest.mark.parametrize("at_once", [False, True])
def test_the_client_tells_a_wrong_input(
    studio: FalStudio, client: SyncClient, change: dict[str, object], loc: list[str], kind: str, *, at_once: bool
) -> None:
    """HTTP 422 with place, words and type, in the result or already when it is submitted."""
    studio.checks_at_once = at_once
    with pytest.raises(FalClientHTTPError) as caught:
        client.subscribe(UNION, asked(**change), interval=0)
    problem = caught.value.response.json()["detail"][0]
    assert (caught.value.status_code, problem["loc"], problem["type"]) == (422, loc, kind)


def test_the_client_is_refused_without_a_key_without_money_and_for_no_such_model(
    studio: FalStudio, client: SyncClient
) -> None:
    """HTTP 401, 404 and, for an empty balance, 403 with its reason; nothing is charged."""
    with pytest.raises(FalClientHTTPError, match="No user found for Key ID and Secret"):
        SyncClient(key="wrong:key").submit(UNION, asked())
    with pytest.raises(FalClientHTTPError, match="not found"):
        client.submit("fal-ai/nothing", asked())
    studio.balance = 0.0
    with pytest.raises(FalClientHTTPError, match=r"User is locked\. Reason: Exhausted balance") as caught:
        client.submit(UNION, asked())
    assert (caught.value.status_code, studio.charges) == (403, 0)


def test_the_client_sends_a_refused_submission_again_and_is_charged_once(studio: FalStudio, client: SyncClient) -> None:
    """After HTTP 429 and after a 502 that the ingress wrote, not after a 500."""
    ingress = Response("<center>nginx</center>", 502, media_type="text/html")
    studio.fail_next(f"/{UNION}", JSONResponse({"detail": "busy"}, 429), ingress)
    client.submit(UNION, asked())
    assert (len(studio.calls(f"/{UNION}")), studio.charges) == (3, 1)
    studio.fail_next(f"/{UNION}", JSONResponse({"detail": "Internal Server Error"}, 500))
    with pytest.raises(FalClientHTTPError):
        client.submit(UNION, asked())
    assert len(studio.calls(f"/{UNION}")) == 4


def test_the_client_is_told_that_it_asks_too_early(studio: FalStudio, client: SyncClient) -> None:
    """The result of a request that goes on is HTTP 400."""
    studio.looks_until_done = 3
    handle = client.submit(UNION, asked())
    reply = httpx2.get(handle.response_url, headers={"Authorization": f"Key {KEY}"})
    assert (reply.status_code, reply.json()) == (400, {"detail": "Request is still in progress"})
    assert httpx2.get(handle.status_url, headers={"Authorization": f"Key {KEY}"}).status_code == 202


def sample(name: str) -> Response:
    """A sample reply as it would come."""
    reply = recorded("fal", name)
    return Response(reply.body, reply.status, dict(reply.headers))


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("queued", Queued(position=2)),
        ("completed", Completed(logs=None, metrics={"inference_time": 3.7})),
        ("completed_failed", Completed(None, {}, "Request timed out", "request_timeout")),
        ("completed_cancelled", Completed(None, {}, "Request was cancelled by the client", "client_cancelled")),
    ],
)
def test_the_client_understands_the_sample_statuses(
    studio: FalStudio, client: SyncClient, name: str, status: Status
) -> None:
    """Each as it is meant."""
    studio.fail_next(f"/{UNION}/requests/", sample(name))
    assert client.status(UNION, "a-request") == status


def test_the_client_knows_three_statuses(studio: FalStudio, client: SyncClient) -> None:
    """Any other is an error to it."""
    studio.fail_next(f"/{UNION}/requests/", sample("unknown_status"))
    with pytest.raises(ValueError, match="Unknown status: FAILED"):
        client.status(UNION, "a-request")


@pytest.mark.parametrize("name", sorted({path.stem for path in REPLIES.glob("error_*.json")} - SENT_AGAIN))
def test_the_client_understands_the_sample_errors(studio: FalStudio, client: SyncClient, name: str) -> None:
    """The words are in `detail`, and the platform's kind of error is in the body and in a header field."""
    studio.fail_next(f"/{UNION}", sample(name))
    with pytest.raises(FalClientHTTPError) as caught:
        client.submit(UNION, asked())
    body = caught.value.response.json()
    assert str(caught.value.status_code) in name
    assert caught.value.message == body["detail"]
    assert caught.value.error_type == body.get("error_type") == caught.value.response_headers.get("x-fal-error-type")


@pytest.mark.parametrize("name", ["submitted", "submitted_bare", "submitted_elsewhere"])
def test_the_client_understands_the_sample_receipts(studio: FalStudio, client: SyncClient, name: str) -> None:
    """It keeps the links of the receipt and follows them to whatever host."""
    studio.fail_next(f"/{UNION}", sample(name))
    handle = client.submit(UNION, asked())
    studio.fail_next(f"/{UNION}/requests/", sample("in_progress"), sample("cancel_requested"))
    assert isinstance(handle.status(), InProgress)
    handle.cancel()
    assert studio.received[-1].path == f"/{UNION}/requests/{handle.request_id}/cancel"


def test_pictures_come_inside_the_result_in_sync_mode(client: SyncClient) -> None:
    """As data URIs."""
    result = Result.model_validate(client.subscribe(UNION, asked(sync_mode=True, image_size="square"), interval=0))
    kind, _, data = result.images[0].url.partition(",")
    assert kind == "data:image/jpeg;base64"
    assert (result.images[0].width, result.images[0].height) == (512, 512)
    assert data


def test_the_hub_draws_through_the_simulator(studio: FalStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub follows the path of `response_url`; it sends every model fields that it does not have."""
    mapping = InferenceProviderMapping(  # type: ignore[no-untyped-call]  # the library leaves it open
        provider="fal-ai",
        hf_model_id=HUB_NAME,
        providerId=f"{CANNY}/image-to-image",
        task="image-to-image",
        status="live",
    )
    monkeypatch.setitem(HARDCODED_MODEL_INFERENCE_MAPPING["fal-ai"], HUB_NAME, mapping)
    studio.ignores_unknown = True
    close_session()
    try:
        hub = InferenceClient(provider="fal-ai", api_key=KEY)
        picture = hub.image_to_image(  # pyright: ignore[reportUnknownMemberType]  # its further arguments are open
            encode_png(edges()),
            prompt="a house",
            model=HUB_NAME,
            control_lora_image_url=inline(),
            output_format="png",
            seed=7,
        )
    finally:
        close_session()
    shown = np.asarray(picture.convert("RGB"), dtype=np.uint8)
    assert recall_of(edges(), shown) > 0.9
    assert studio.charges == 1
