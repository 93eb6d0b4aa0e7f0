"""WaveSpeed: every field, status, code and path of its pages, on sample replies."""

import json
from functools import partial
from typing import TypeVar

import pytest
from pydantic import JsonValue, SecretStr, ValidationError

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.types import Control, Cost, RemoteTask, Report, RequestWarning, ResolvedRequest
from controlnet_mcp.providers.wavespeed.adapter import WaveSpeedOptions, WaveSpeedProvider, WaveSpeedSettings
from tests.support.conversations import held, recorded

reply = partial(recorded, "wavespeed")
KEY = "wsk_live_secret"
LINK = "https://pictures.example/map.png"
HASH = "ab" * 32
PICTURE = StoredPicture(sha256=HASH, mime_type="image/png", width=640, height=480, size_bytes=99)
DEPTH, CANNY, UNION = (
    f"wavespeed-ai/{name}"
    for name in ("flux-control-lora-depth", "flux-control-lora-canny", "flux-controlnet-union-pro-2.0")
)
LORAS: JsonValue = [{"path": "owner/name", "scale": 1.5}, {"path": "https://lora.example/a.safetensors", "scale": 4.0}]
T = TypeVar("T")

FIELDS_OF_DEPTH_PAGE: dict[str, tuple[dict[str, object], JsonValue]] = {
    "prompt": ({}, "a house"),
    "control_image": ({}, LINK),
    "control_scale": ({"control": {"weight": 1.4}}, 1.4),
    "seed": ({"seed": -1}, -1),
    "num_images": ({"num_images": 3}, 3),
    "size": ({"width": 864, "height": 1536}, "864*1536"),
    "num_inference_steps": ({"steps": 30}, 30),
    "guidance_scale": ({"guidance": 4.5}, 4.5),
    "enable_safety_checker": ({"options": {"enable_safety_checker": False}}, False),
    "loras": ({"options": {"loras": LORAS}}, LORAS),
    "enable_base64_output": ({"options": {"enable_base64_output": True}}, True),
    "enable_sync_mode": ({"options": {"enable_sync_mode": True}}, True),
}
"""The nine fields of the page and three that only the clients have: what to ask for, and what must be sent."""

FIELDS_OF_UNION_PAGE: dict[str, tuple[dict[str, object], JsonValue]] = {
    **{name: case for name, case in FIELDS_OF_DEPTH_PAGE.items() if name != "control_scale"},
    "controlnet_conditioning_scale": ({"control": {"weight": 0.4}}, 0.4),
    "control_guidance_start": ({"control": {"start": 0.1}}, 0.1),
    "control_guidance_end": ({"control": {"end": 0.7}}, 0.7),
    "output_format": ({"options": {"output_format": "png"}}, "png"),
}


def provider(**changes: str) -> WaveSpeedProvider:
    """An adapter with a key."""
    settings = {"api_key": SecretStr(KEY)} | changes
    return WaveSpeedProvider(WaveSpeedSettings.model_validate(settings))


def request(control: dict[str, object] | None = None, **changes: object) -> ResolvedRequest:
    """A small request with a linked depth map."""
    unit = Control.model_validate({"modality": "depth", "source_url": LINK, "is_map": True, **(control or {})})
    fields = {"prompt": "a house", "controls": (unit,), "width": 1024, "height": 768, "seed": 7}
    return ResolvedRequest.model_validate(fields | changes)


def sent(resolved: ResolvedRequest) -> dict[str, JsonValue]:
    """The body as a dry run shows it."""
    adapter = provider()
    body = show(adapter.build(adapter.fit(resolved).request, "reference", {HASH: LINK}).json)
    assert isinstance(body, dict)
    return body


def notices(resolved: ResolvedRequest) -> list[RequestWarning]:
    """The warnings of a request."""
    return list(provider().fit(resolved).warnings)


def polled(name: str) -> Report:
    """What a sample reply to a poll means."""
    return held(provider().poll(RemoteTask(remote_id="b7f6")), reply(name))[0]


@pytest.mark.parametrize("field", FIELDS_OF_DEPTH_PAGE)
def test_every_field_of_the_depth_page_is_sent(field: str) -> None:
    """What the caller asks for arrives under the vendor's own name."""
    asked, expected = FIELDS_OF_DEPTH_PAGE[field]
    assert sent(request(**asked))[field] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("field", FIELDS_OF_UNION_PAGE)
def test_every_field_of_the_union_page_is_sent(field: str) -> None:
    """The same for the model that takes every kind of control."""
    asked, expected = FIELDS_OF_UNION_PAGE[field]
    assert sent(request(**{"model": UNION, **asked}))[field] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "page"), [(DEPTH, FIELDS_OF_DEPTH_PAGE), (UNION, FIELDS_OF_UNION_PAGE)])
def test_the_fields_are_those_of_the_page(model: str, page: dict[str, tuple[dict[str, object], JsonValue]]) -> None:
    """A field that the adapter sends and the tables above do not know would go untested."""
    options = {"loras": LORAS, "enable_base64_output": True, "enable_sync_mode": True, "output_format": "webp"}
    body = sent(request(model=model, steps=20, guidance=3.0, options=options))
    assert set(body) == set(page)


def test_what_nobody_asked_for_is_left_to_the_vendor_but_the_size() -> None:
    """The page's own default size is outside its range, so a size always goes; scale and seed are ours."""
    assert set(sent(request())) == {
        *("prompt", "control_image", "control_scale", "seed", "num_images", "size", "enable_safety_checker")
    }


@pytest.mark.parametrize(
    ("modality", "model"),
    [("depth", DEPTH), ("canny", CANNY)]
    + [(name, UNION) for name in ("softedge", "pose", "gray", "lineart", "scribble", "sketch", "mlsd")],
)
def test_the_model_is_chosen_by_the_modality(modality: str, model: str) -> None:
    """Depth and canny have models of their own; none of them has a field that names the modality."""
    adapter = provider()
    settled = adapter.fit(request({"modality": modality})).request
    assert settled.model == model
    assert adapter.build(settled, "reference", {}).url == f"https://api.wavespeed.ai/api/v3/{model}"
    assert WaveSpeedProvider.capabilities.modalities[modality].takes == "map"


@pytest.mark.parametrize("modality", WaveSpeedProvider.capabilities.modalities)
def test_union_pro_takes_every_modality_when_it_is_named(modality: str) -> None:
    """With or without the vendor's prefix."""
    settled = provider().fit(request({"modality": modality}, model="flux-controlnet-union-pro-2.0")).request
    assert settled.model == UNION


@pytest.mark.parametrize(
    ("modality", "scale", "end"),
    [("canny", 0.7, 0.8), ("softedge", 0.7, 0.8), ("depth", 0.8, 0.8), ("pose", 0.9, 0.65), ("gray", 0.9, 0.8)],
)
def test_a_weight_of_one_means_what_the_vendor_advises(modality: str, scale: float, end: float) -> None:
    """The page of Union Pro advises a scale and an end for each kind of control."""
    body = sent(request({"modality": modality}, model=UNION))
    assert (body["controlnet_conditioning_scale"], body["control_guidance_end"]) == (scale, end)


def test_an_exact_scale_and_range_can_be_set() -> None:
    """Options go before the weight and the advice."""
    exact = {"controlnet_conditioning_scale": 1.0, "control_guidance_start": 0.2, "control_guidance_end": 1.0}
    assert sent(request(model=UNION, options=exact)).items() >= exact.items()


@pytest.mark.parametrize(("seed", "expected"), [(-1, -1), (9999999999, 9999999999), (9999999999 + 5, 5)])
def test_a_seed_beyond_the_range_is_reduced(seed: int, expected: int) -> None:
    """Modulo 9999999999, as the vendor's own nodes do; what is sent is told."""
    assert sent(request(seed=seed))["seed"] == expected
    assert [row.feature for row in notices(request(seed=seed))] == ["seed"] * (seed != expected)


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [(DEPTH, 0.5, 1.0), (DEPTH, 99.0, 30.0), (UNION, 0.5, 0.5), (UNION, 99.0, 20.0)],
)
def test_guidance_is_kept_inside_the_model_s_range(model: str, asked: float, expected: float) -> None:
    """1 to 30 for the control LoRAs, 0 to 20 for Union Pro; a change is told."""
    resolved = request(model=model, guidance=asked)
    assert sent(resolved)["guidance_scale"] == expected
    assert [row.kind for row in notices(resolved)] == ["adjusted"] * (asked != expected)


def test_steps_are_kept_inside_the_range() -> None:
    """1 to 50."""
    resolved = request(steps=80)
    assert sent(resolved)["num_inference_steps"] == 50
    assert [row.feature for row in notices(resolved)] == ["steps"]


def test_what_the_model_does_not_have_is_told() -> None:
    """The control LoRAs have no range of steps and no file type."""
    resolved = request({"start": 0.2}, options={"output_format": "png", "control_guidance_end": 0.5})
    assert {row.feature for row in notices(resolved)} == {
        *("start and end", "provider_options.output_format", "provider_options.control_guidance_end")
    }
    assert not {"output_format", "control_guidance_end"} & set(sent(resolved))


def test_lines_that_union_pro_was_not_trained_on_are_told() -> None:
    """It goes, as an approximation."""
    assert [row.kind for row in notices(request({"modality": "lineart"}))] == ["approximate"]
    assert notices(request({"modality": "softedge"})) == []


@pytest.mark.parametrize(
    ("modality", "model", "code"),
    [
        ("depth", CANNY, "unsupported"),
        ("pose", DEPTH, "unsupported"),
        ("depth", "z-image/turbo", "invalid_request"),
        ("depth", "../../v3/balance", "invalid_request"),
        ("depth", "wavespeed-ai/flux-dev", "invalid_request"),
    ],
)
def test_a_model_that_cannot_do_it_is_refused_before_anything_is_sent(modality: str, model: str, code: str) -> None:
    """The hint names models that can."""
    with pytest.raises(ControlNetError) as caught:
        provider().fit(request({"modality": modality}, model=model))
    assert caught.value.code == code
    assert "wavespeed-ai/flux-control" in caught.value.hint


def test_a_newer_model_of_a_known_family_is_tried() -> None:
    """It gets the fields of its family, and that is said."""
    resolved = request({"modality": "pose"}, model="flux-controlnet-union-pro-3.0")
    assert [row.kind for row in notices(resolved)] == ["assumed"]
    assert "controlnet_conditioning_scale" in sent(resolved)


@pytest.mark.parametrize(
    "options",
    [
        {"webhook": "http://plain.example/done"},
        {"webhook": "https://"},
        {"loras": [{"path": "a/b", "scale": 4.1}]},
        {"loras": [{"path": "a/b"}] * 4},
        {"output_format": "gif"},
        {"control_scale": 1.0},
        {"controlnet_conditioning_scale": 2.1},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    """Unknown names, plain links, and more than the vendor takes."""
    with pytest.raises(ValidationError):
        WaveSpeedOptions.model_validate(options)


def test_every_option_is_described() -> None:
    """Callers see these sentences."""
    assert all(field.description for field in WaveSpeedOptions.model_fields.values())


def test_the_webhook_is_a_query_parameter() -> None:
    """It is no part of the body."""
    call = provider().build(request(options={"webhook": "https://hooks.example/x?a=1"}), "reference", {})
    assert call.query == {"webhook": "https://hooks.example/x?a=1"}
    assert "webhook" not in json.dumps(show(call.json))


def test_version_2_is_a_setting() -> None:
    """Submission and result in either version; a task is asked for in the version that took it."""
    adapter = provider(api_version="v2", base_url="https://api.wavespeed.ai/")
    assert adapter.build(request(), "reference", {}).url == f"https://api.wavespeed.ai/api/v2/{DEPTH}"
    task = adapter.read(reply("submitted")).task
    call = next(provider().poll(task))
    assert call.url == f"https://api.wavespeed.ai/api/v2/predictions/{task.remote_id}/result"


def test_a_picture_without_a_usable_link_is_uploaded() -> None:
    """An https link is passed on; plain http and pictures of ours go through the storage."""
    adapter = provider()
    linked = request({"picture": PICTURE})
    plain = request({"picture": PICTURE, "source_url": "http://pictures.example/map.png"})
    assert adapter.uploads(linked) == ()
    assert adapter.uploads(plain) == (PICTURE,)
    body = show(adapter.build(plain, "reference", {HASH: "https://media.example/1.png"}).json)
    assert isinstance(body, dict)
    assert body["control_image"] == "https://media.example/1.png"


def test_keys_are_never_shown() -> None:
    """Not in the representation of a call, nor in what a dry run prints; only the sender reveals it."""
    call = provider().build(request(options={"webhook": "https://hooks.example"}), "reference", {})
    assert KEY not in repr(call)
    assert KEY not in json.dumps([show(call.json), shown_headers(call)])
    assert call.submits


@pytest.mark.parametrize(
    ("names", "paths", "cost"),
    [
        (("price",), ["price"], Cost(amount=0.027, unit="USD", estimated=True)),
        (("error_404", "pricing"), ["price", "pricing"], Cost(amount=0.03, unit="USD", estimated=True)),
        (("error_404", "error_404"), ["price", "pricing"], None),
    ],
)
def test_the_price_is_asked_for_at_either_path(names: tuple[str, ...], paths: list[str], cost: Cost | None) -> None:
    """The SDK's path first; a placeholder of an upload is not sent along."""
    resolved = request({"picture": PICTURE, "source_url": None})
    learned, calls = held(provider().price(resolved, {HASH: "(link of the upload)"}), *map(reply, names))
    assert learned == cost
    assert [call.url for call in calls] == [f"https://api.wavespeed.ai/api/v3/model/{path}" for path in paths]
    assert "link of the upload" not in json.dumps(show(calls[0].json))
    assert not any(call.submits for call in calls)


@pytest.mark.parametrize(
    ("names", "left"), [(("balance",), 12.5), (("error_404", "account_balance"), 12.5), (("error_404",) * 2, None)]
)
def test_the_balance_is_asked_for_at_either_path(names: tuple[str, ...], left: float | None) -> None:
    """Also when it comes as text."""
    assert held(provider().balance(), *map(reply, names))[0] == left


def test_a_refused_key_is_not_a_missing_path() -> None:
    """Only 404 leads to the second path."""
    with pytest.raises(ProviderError) as caught:
        held(provider().balance(), reply("error_401"))
    assert caught.value.code == "unauthorized"


def test_models_are_those_of_the_list_that_can_be_asked_for() -> None:
    """Others are left out; a list without any of them gives the documented ones."""
    found = held(provider().models(), reply("models"))[0]
    assert [row.name for row in found] == [DEPTH, "wavespeed-ai/flux-controlnet-union-pro-3.0"]
    assert "0.03" in found[0].summary
    assert held(provider().models(), reply("models_other"))[0] == WaveSpeedProvider.capabilities.models
