"""zhiqite: every field, family and status of its page, and the whole way against its simulator."""

import json
from collections.abc import Generator
from functools import partial

import httpx2
import pytest
from pydantic import JsonValue, SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.placeholders import PictureSource, show
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Control, RemoteTask, Report, ResolvedRequest
from controlnet_mcp.providers.zhiqite.adapter import FAMILIES, ZhiqiteProvider, ZhiqiteSettings
from tests.support.conversations import FOLDER, held, recorded
from tests.support.hosted_providers import submit
from tests.support.sample_drawings import house
from tests.support.simulators.serving import free_socket, origin_of, running
from tests.support.simulators.zhiqite import KEY_ID, KEY_SECRET, ROOT, ZhiqiteSimulator

pytestmark = pytest.mark.anyio
reply = partial(recorded, "zhiqite")
LINK = "http://127.0.0.1:1/house.png"

FAMILY_OF_PAGE = {
    "canny": "canny",
    "depth": "depth",
    "inpaint": "inpaint",
    "lineart": "lineart",
    "MLSD": "mlsd",
    "NormalMap": "normal",
    "OpenPose": "pose",
    "Reference": "reference",
    "Scribble": "scribble",
    "Segmentation": "seg",
    "Shuffle": "shuffle",
    "SoftEdge": "softedge",
    "T2I-Adapter": "t2i-adapter",
    "Tile": "tile",
    "Recolor": "gray",
    "IP-Adapter": "ip-adapter",
    "Instant-ID": "instant-id",
}
"""The seventeen rows of the page's table."""

FIELDS_OF_PAGE: dict[str, tuple[dict[str, object], JsonValue]] = {
    "prompt": ({}, "a house"),
    "n_iter": ({"num_images": 3}, 3),
    "batch_size": ({}, 1),
    "steps": ({"steps": 25}, 25),
    "seed": ({"seed": 1221212}, "1221212"),
    "restore_faces": ({"options": {"restore_faces": True}}, True),
    "enable_hr": ({"options": {"enable_hr": True}}, True),
    "hr_scale": ({"options": {"hr_scale": 2}}, 2),
    "width": ({"width": 640}, 640),
    "height": ({"height": 448}, 448),
    "negative_prompt": ({"negative_prompt": "fog"}, "fog"),
    "cfg_scale": ({"guidance": 11.0}, 11.0),
    "sampler_index": ({"scheduler": "DPM++ 2M Karras"}, "DPM++ 2M Karras"),
    "hr_second_pass_steps": ({"options": {"hr_second_pass_steps": 20}}, 20),
    "hr_resize_x": ({"options": {"hr_resize_x": 1024}}, 1024),
    "hr_resize_y": ({"options": {"hr_resize_y": 1024}}, 1024),
    "denoising_strength": ({"strength": 0.55}, 0.55),
    "resize_mode": ({"options": {"resize_mode": 0}}, 0),
    "alwayson_scripts.sd_model_checkpoint": (
        {"model": "revAnimated_v122_7371.safetensors"},
        "revAnimated_v122_7371.safetensors",
    ),
    "alwayson_scripts.override_settings": (
        {"options": {"clip_stop_at_last_layers": 2}},
        {"CLIP_stop_at_last_layers": 2},
    ),
    "alwayson_scripts.id_task": ({}, "our-reference"),
    "alwayson_scripts.sd_vae": ({"options": {"sd_vae": "vae.pt"}}, "vae.pt"),
    "alwayson_scripts.output_image_format": ({"options": {"output_image_format": "png"}}, "png"),
    "alwayson_scripts.image_link": ({"init_url": LINK}, LINK),
    "unit.image_link": ({}, LINK),
    "unit.enabled": ({}, True),
    "unit.module": ({"options": {"modules": {"canny": "invert"}}}, "invert"),
    "unit.model": ({"options": {"models": {"canny": "brightness"}}}, "brightness"),
    "unit.weight": ({"control": {"weight": 0.7}}, 0.7),
    "unit.resize_mode": ({"options": {"unit_resize_mode": "Just Resize"}}, "Just Resize"),
    "unit.low_vram": ({"options": {"low_vram": True}}, True),
    "unit.processor_res": ({"options": {"processor_res": 512}}, 512),
    "unit.threshold_a": ({"options": {"threshold_a": 64}}, 64.0),
    "unit.threshold_b": ({"options": {"threshold_b": 64}}, 64.0),
    "unit.guidance_start": ({"control": {"start": 0.35}}, 0.35),
    "unit.guidance_end": ({"control": {"end": 0.75}}, 0.75),
    "unit.pixel_perfect": ({"options": {"pixel_perfect": False}}, False),
    "unit.control_mode": ({"options": {"control_mode": "Balanced"}}, "Balanced"),
}
"""Every field of the page (units below `unit.`): what to ask for, and what must be sent."""


def provider(base_url: str = "https://api.zhiqite.com") -> ZhiqiteProvider:
    """An adapter with keys."""
    return ZhiqiteProvider(
        ZhiqiteSettings(
            base_url=base_url,
            access_key_id=SecretStr(KEY_ID),
            access_key_secret=SecretStr(KEY_SECRET),
        )
    )


def request(control: dict[str, object] | None = None, **changes: object) -> ResolvedRequest:
    """A small request with a linked control picture."""
    unit = Control.model_validate({"modality": "canny", "source_url": LINK, **(control or {})})
    fields = {"prompt": "a house", "controls": (unit,), "width": 256, "height": 192, "seed": 7}
    return ResolvedRequest.model_validate(fields | changes)


def sent(resolved: ResolvedRequest) -> dict[str, JsonValue]:
    """The body as a dry run shows it."""
    body = show(provider().build(resolved, "our-reference", {}).json)
    assert isinstance(body, dict)
    return body


def at(place: JsonValue, path: list[str]) -> JsonValue:
    """What stands at a path; of a list, its first item."""
    for part in path:
        first = place[0] if isinstance(place, list) else place
        assert isinstance(first, dict)
        place = first[part]
    return place


def polled(name: str) -> Report:
    """What a sample reply to a poll means."""
    return held(provider().poll(RemoteTask(remote_id="pro1686666")), reply(name))[0]


@pytest.mark.parametrize("field", FIELDS_OF_PAGE)
def test_every_field_of_the_page_is_sent(field: str) -> None:
    """What the caller asks for arrives under the vendor's own name."""
    asked, expected = FIELDS_OF_PAGE[field]
    body = sent(request(**asked))  # type: ignore[arg-type]
    assert at(body, field.replace("unit.", "alwayson_scripts.controlnet.args.").split(".")) == expected


def test_the_fields_are_those_of_the_adapter() -> None:
    """A field that the adapter sends and the table above does not know would go untested."""
    body = sent(
        request(options={"clip_stop_at_last_layers": 2, "threshold_a": 1, "threshold_b": 2, "processor_res": 64})
    )
    scripts = body.pop("alwayson_scripts")
    assert isinstance(scripts, dict)
    known = {name.rpartition(".")[2] for name in FIELDS_OF_PAGE}
    assert {*body, *scripts} - {"controlnet"} <= known


@pytest.mark.parametrize("name", FAMILY_OF_PAGE)
def test_every_family_of_the_page_is_offered_and_sent(name: str) -> None:
    """The page's seventeen families, each as a unit with a preprocessor and a model."""
    modality = FAMILY_OF_PAGE[name]
    assert ZhiqiteProvider.capabilities.modalities[modality].native == name
    body = json.dumps(sent(request({"modality": modality})))
    assert FAMILIES[modality].module in body
    assert FAMILIES[modality].model in body


def test_a_ready_map_is_not_preprocessed_again() -> None:
    """`is_map` switches the preprocessor off; the model stays."""
    body = json.dumps(sent(request({"is_map": True})))
    assert '"module": "none"' in body
    assert "control_v11p_sd15_canny" in body


def test_the_table_may_be_followed_instead_of_the_example() -> None:
    """With `flat` the fields stand at the top level, as the page's table lists them."""
    body = sent(request(options={"flat": True}))
    assert "alwayson_scripts" not in body
    assert body["id_task"] == "our-reference"


def test_a_stored_picture_goes_as_a_link_of_ours() -> None:
    """Pictures without a link are handed over through `/files/`, never inline."""
    picture = StoredPicture(sha256="ab" * 32, mime_type="image/png", width=4, height=4, size_bytes=99)
    body = json.dumps(sent(request({"source_url": None, "picture": picture})))
    assert "public_url of image/png" in body
    assert "base64" not in body


def test_the_task_is_the_one_that_was_named() -> None:
    """The reply to a submission."""
    submission = provider().read(reply("submitted"))
    assert submission.task.remote_id == "pro1686666"
    assert submission.report.phase == "queued"


@pytest.mark.parametrize(
    ("name", "phase"),
    [("running", "running"), ("unknown_status", "running"), ("finished", "succeeded"), ("audited", "failed")],
)
def test_every_status_is_understood(name: str, phase: str) -> None:
    """A link means done; unknown integers mean running; a failed audit is told."""
    assert polled(name).phase == phase


def test_the_audit_of_each_picture_is_told() -> None:
    """One picture passed, one is flagged; the seed is the vendor's."""
    report = polled("finished")
    assert [row.flagged for row in report.outputs] == [False, True]
    assert report.seed == 1221212


def test_a_held_back_picture_is_moderation() -> None:
    """No link and a failed audit."""
    fault = polled("audited").fault
    assert fault is not None
    assert fault.code == "moderated"


@pytest.mark.parametrize(("name", "code"), [("refused", "provider_failed"), ("unauthorized", "unauthorized")])
def test_a_code_inside_http_200_is_an_error(name: str, code: str) -> None:
    """The vendor answers with code strings; each has a way out, and nothing was accepted."""
    with pytest.raises(ProviderError) as caught:
        provider().read(reply(name))
    assert caught.value.code == code
    assert caught.value.hint
    assert caught.value.delivery == "refused"


def test_nonsense_is_quoted_and_may_have_been_accepted() -> None:
    """A body that is no envelope."""
    with pytest.raises(ProviderError) as caught:
        provider().read(HttpReply("zhiqite", 200, {}, b"<html>maintenance</html>"))
    assert caught.value.delivery == "unknown"
    assert "maintenance" in str(caught.value)


def test_keys_are_never_shown() -> None:
    """Not in the representation of a call, nor in what a dry run prints."""
    call = provider().build(request(), "our-reference", {})
    assert KEY_SECRET not in repr(call)
    assert KEY_SECRET not in json.dumps(show(call.json))


@pytest.fixture
def simulator() -> Generator[ZhiqiteSimulator]:
    """A running simulator."""
    listening = free_socket()
    service = ZhiqiteSimulator(origin_of(listening))
    with running(service.app(), listening):
        yield service


async def test_the_whole_way_against_the_simulator(simulator: ZhiqiteSimulator, blobs: BlobStore) -> None:
    """Submit with a link of ours, poll to the end, fetch: the result shows the drawing."""
    picture = blobs.put_pixels(house(256))
    with running(_files(blobs), listening := free_socket()):
        source = PictureSource(blobs, lambda row: f"{origin_of(listening)}/files/{row.sha256}")
        sender = Sender(source, _nowhere)
        adapter = provider(simulator.origin)
        resolved = request({"source_url": None, "picture": picture}, num_images=2)
        submission = await submit(sender, adapter, resolved, "ref-1")
        report = await sender.poll(adapter, submission.task)
        assert report.phase == "running"
        report = await sender.poll(adapter, submission.task)
        assert report.phase == "succeeded"
        content = await sender.download(adapter, report.outputs[0])
        models = await sender.run(adapter, adapter.models())
        await sender.aclose()
    assert content.startswith(b"\x89PNG")
    assert simulator.studio.charges == 1
    assert models[0].name == "revAnimated_v122_7371.safetensors"


async def test_the_page_example_is_accepted(simulator: ZhiqiteSimulator, blobs: BlobStore) -> None:
    """The page's own request, with hosts of this machine: there is no published client to check the simulator with."""
    picture = blobs.put_pixels(house(64))
    example = json.loads((FOLDER / "zhiqite" / "request_example.json").read_text())["body"]
    with running(_files(blobs), listening := free_socket()):
        scripts = example["alwayson_scripts"]
        scripts["controlnet"]["args"][0]["image_link"] = f"{origin_of(listening)}/files/{picture.sha256}"
        headers = {"X-Request-req-accessKeyId": KEY_ID, "X-Request-req-accessKeySecret": KEY_SECRET}
        async with httpx2.AsyncClient(base_url=simulator.origin, headers=headers) as client:
            accepted = await client.post(f"{ROOT}/controlnet", json=example)
            refused = await client.post(f"{ROOT}/controlnet", json=example, headers={"X-Request-req-accessKeyId": "x"})
    assert accepted.json() == {"code": "200", "msg": "success", "data": {"task_id": "pro1686666"}}
    assert refused.json()["code"] == "401"


def _files(blobs: BlobStore) -> Starlette:
    """A stand-in for our own `/files/` route, without signatures."""

    async def file(request: Request) -> Response:
        return Response(blobs.get(request.path_params["sha256"]), media_type="image/png")

    return Starlette(routes=[Route("/files/{sha256}", file)])


async def _nowhere(url: str) -> bytes:
    raise AssertionError(f"nothing may be fetched from {url}")
