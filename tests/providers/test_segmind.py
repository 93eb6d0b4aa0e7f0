"""Segmind, requests: the model for a structure, every field of every model's page, and what is told on the way."""

import dataclasses
from typing import Literal

import pytest
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.providers.http import Body, HttpCall, PictureData
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.segmind.adapter import SegmindProvider
from controlnet_mcp.providers.segmind.models import GATEWAY_OPTIONS, MODELS, SegmindModel, SegmindOptions
from controlnet_mcp.providers.types import ResolvedRequest
from tests.support.segmind_cases import KEY, LARGE, LINK, PICTURE, adapter, resolved_request
from tests.support.simulators.segmind_forms import PAGES

USUAL = {
    "pose": "sd3-med-pose",
    "canny": "sd3-med-canny",
    "tile": "sd3-med-tile",
    "depth": "sd1.5-controlnet-depth",
    "scribble": "sd1.5-controlnet-scribble",
    "sketch": "sd1.5-controlnet-scribble",
    "softedge": "sd1.5-controlnet-softedge",
}
"""The model that is taken for a structure when none is named."""

EVERY_OPTION: dict[str, object] = {
    "control_strength": 0.7,
    "base64": True,
    "sampler": "dpmpp_2m",
    "cn_stop": 0.6,
    "use_input_img_dimension": True,
    "image_format": "png",
    "quality": 90,
    "megapixels": "match_input",
    "output_format": "png",
    "output_quality": 70,
    "disable_safety_checker": True,
    "safety_tolerance": 5,
    "prompt_upsampling": True,
}
"""A value for each of the vendor's own knobs, none of them the default."""


def settled(request: ResolvedRequest, version: Literal["v1", "v2"] = "v2") -> HttpCall:
    """The call that a request leads to."""
    provider = adapter(version)
    fitted = provider.fit(request).request
    links = {picture.sha256: LINK for picture in provider.uploads(fitted)}
    return provider.build(fitted, "reference", links)


def body_of(request: ResolvedRequest, version: Literal["v1", "v2"] = "v2") -> dict[str, Body]:
    """The JSON body of the call that a request leads to."""
    body = settled(request, version).json
    assert isinstance(body, dict)
    return body


def features(request: ResolvedRequest, version: Literal["v1", "v2"] = "v2") -> list[str]:
    """What the caller is told about."""
    return [notice.feature for notice in adapter(version).fit(request).warnings]


def everything(model: SegmindModel) -> ResolvedRequest:
    """A request that uses all that a model has."""
    scheduler = "Euler a" if model.schedulers else "simple"
    modality = next(iter(model.keeps))
    return resolved_request(
        modality,
        model=model.name,
        negative_prompt="blurry",
        steps=30,
        guidance=6.5,
        scheduler=scheduler,
        num_images=2,
        options=EVERY_OPTION,
    )


@pytest.mark.parametrize(("modality", "slug"), USUAL.items())
def test_the_structure_chooses_the_model(modality: str, slug: str) -> None:
    """Without a model, each structure goes to the one the vendor made for it, under v2."""
    call = settled(resolved_request(modality))
    assert (call.method, call.url, call.submits) == ("POST", f"https://api.segmind.com/v2/{slug}", True)


def test_every_structure_is_a_known_one_with_a_model() -> None:
    """The capabilities name exactly the structures of the table, all of them canonical."""
    assert set(SegmindProvider.capabilities.modalities) == set(USUAL) <= set(MODALITIES)
    assert {model.name for model in SegmindProvider.capabilities.models} == set(PAGES)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_field_of_a_models_page_is_sent(model: SegmindModel) -> None:
    """A request that uses everything fills every field of the vendor's page, and no other."""
    assert set(body_of(everything(model))) == set(PAGES[model.name])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_knobs_of_a_model_reach_it_as_they_are(model: SegmindModel) -> None:
    """A knob that the model has is sent under its own name with its value."""
    body = body_of(everything(model))
    own = model.options - GATEWAY_OPTIONS
    assert {name: body[name] for name in own} == {name: EVERY_OPTION[name] for name in own}


def test_every_knob_has_a_case_and_a_description() -> None:
    """A new option needs a value here, some model that takes it, and words for the caller."""
    knobs = set(SegmindOptions.model_fields) - {"api_version"}
    assert knobs == set(EVERY_OPTION)
    taken = {name for model in MODELS for name in model.options}
    assert knobs - taken == {"base64"}
    assert all(row.description for row in SegmindOptions.model_fields.values())


def test_the_request_of_the_vendors_own_page() -> None:
    """The SD3 pose page's sample comes out field by field."""
    request = resolved_request(
        control={"weight": 0.6},
        negative_prompt="low quality,less details",
        steps=25,
        guidance=7.5,
        scheduler="sgm_uniform",
        num_images=4,
        seed=698845,
        options={"sampler": "dpmpp_2m"},
    )
    assert body_of(request) == {
        "prompt": "a dancer",
        "image": PictureData(PICTURE, "base64"),
        "strength": 0.6,
        "negative_prompt": "low quality,less details",
        "num_inference_steps": 25,
        "guidance_scale": 7.5,
        "scheduler": "sgm_uniform",
        "samples": 4,
        "seed": 698845,
        "sampler": "dpmpp_2m",
        "base64": False,
    }


@pytest.mark.parametrize(
    ("model", "modality", "fields"),
    [
        ("sdxl-controlnet", "softedge", {"cn_model": "sdxl_softedge", "controlnet_scale": 0.9}),
        ("sdxl-controlnet", "pose", {"cn_model": "sdxl_openpose"}),
        ("sdxl-controlnet", "sketch", {"cn_model": "sdxl_scribble"}),
        ("sdxl-openpose", "pose", {"controlnet_scale": 0.5}),
        ("sd1.5-controlnet-openpose", "pose", {"strength": 1.0}),
        ("ssd-canny", "canny", {"controlnet_scale": 0.5}),
        ("flux-controlnet", "depth", {"cn_type": "depth", "cn_strength": 0.4, "sampler": "euler", "steps": 20}),
        ("flux-canny-dev", "canny", {"num_outputs": 1, "control_image": LINK}),
        ("flux-depth-pro", "depth", {"seed": 7, "control_image": LINK}),
    ],
)
def test_each_family_has_its_own_names(model: str, modality: str, fields: dict[str, object]) -> None:
    """Selector, strength, count and picture go under the names of the family, at its usual strength."""
    body = body_of(resolved_request(modality, model=model))
    assert {name: body[name] for name in fields} == fields


def test_only_the_flux_controlnet_takes_a_size() -> None:
    """The others follow the control picture, and say so when another size was settled."""
    request = resolved_request("canny", model="flux-controlnet", width=768, height=1280)
    body = body_of(request)
    assert (body["custom_width"], body["custom_height"], body["use_input_img_dimension"]) == (768, 1280, False)
    assert features(request) == []
    assert features(resolved_request(width=768, height=1280)) == ["width and height"]
    assert features(resolved_request()) == []


@pytest.mark.parametrize(
    ("request_", "field", "value", "told"),
    [
        (resolved_request("depth", steps=5), "num_inference_steps", 20, ["steps"]),
        (resolved_request("depth", guidance=30.0), "guidance_scale", 25, ["guidance"]),
        (resolved_request("depth", control={"weight": 1.6}), "strength", 1, ["weight"]),
        (resolved_request("depth", control={"weight": 0.0}), "strength", 0.1, ["weight"]),
        (resolved_request(control={"weight": 1.0}), "strength", 0.8, []),
        (resolved_request(options={"control_strength": 1.0}), "strength", 1.0, []),
        (
            resolved_request("depth", options={"control_strength": 0.0}),
            "strength",
            0.1,
            ["provider_options.control_strength"],
        ),
        (resolved_request("depth", scheduler="euler A"), "scheduler", "Euler a", []),
        (resolved_request("depth", model="flux-depth-dev", control={"weight": 0.5}), "num_outputs", 1, ["weight"]),
    ],
)
def test_a_value_outside_the_models_range_is_moved_into_it(
    request_: ResolvedRequest, field: str, value: float | str, told: list[str]
) -> None:
    """The nearest allowed value is sent, and the caller is told; a weight of 1 means the model's usual strength."""
    assert body_of(request_)[field] == value
    assert features(request_) == told


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_ranges_are_those_of_the_models_page(model: SegmindModel) -> None:
    """As they were written down a second time, for the simulated vendor."""
    pages = {name: PAGES[model.name][model.fields[name]] for name in model.ranges}
    spans = {name: (span.least, span.most) for name, span in model.ranges.items()}
    assert spans == {name: (row.least, row.most) for name, row in pages.items()}


def test_what_a_model_lacks_is_left_out_and_told() -> None:
    """Flux pro has no negative prompt, no scheduler, one picture, and none of the SD3 knobs."""
    options: dict[str, object] = {"sampler": "euler", "control_strength": 0.5}
    given = resolved_request("canny", model="flux-canny-pro", negative_prompt="blurry", scheduler="Euler", num_images=3)
    request = given.model_copy(update={"options": options})
    names = ["negative_prompt", "num_images", "provider_options.control_strength", "provider_options.sampler"]
    assert sorted(features(request)) == [*names, "scheduler"]
    assert set(body_of(request)) == {"prompt", "control_image", "seed"}


def test_a_ready_map_is_sent_with_a_warning() -> None:
    """No model has a switch for the vendor's preprocessing, so the caller learns what may happen."""
    assert features(resolved_request(control={"is_map": True})) == ["control_is_map"]


def test_a_model_for_another_structure_is_refused_with_those_that_fit() -> None:
    """The hint names every model that keeps the structure."""
    with pytest.raises(ControlNetError) as caught:
        adapter().fit(resolved_request("depth", model="sd3-med-pose"))
    assert caught.value.code == "unsupported"
    assert all(name in caught.value.hint for name in ("sd1.5-controlnet-depth", "sdxl-controlnet", "flux-depth-pro"))


def test_a_scheduler_that_is_not_declared_is_refused_with_those_that_are() -> None:
    """The vendor would refuse it too, under a status that also means other things."""
    with pytest.raises(ControlNetError, match="has no scheduler 'Karras'") as caught:
        adapter().fit(resolved_request("depth", scheduler="Karras"))
    assert caught.value.code == "unsupported"
    assert "DPM2 a Karras" in caught.value.hint


@pytest.mark.parametrize("name", ["../v1/get-user-credits", "a/b", "", "SD3", "a?b", "é", "x" * 90])
def test_a_model_name_cannot_leave_its_place_in_the_url(name: str) -> None:
    """What cannot be a slug is refused before anything is sent."""
    with pytest.raises(ControlNetError) as caught:
        adapter().fit(resolved_request(model=name))
    assert caught.value.code == "invalid_request"
    assert "sd3-med-pose" in caught.value.hint


def test_a_model_that_is_new_at_segmind_is_tried_with_a_warning() -> None:
    """The table may be older than the vendor's offer."""
    request = resolved_request("depth", model="sd4-med-depth")
    assert features(request) == ["model"]
    assert settled(request).url == "https://api.segmind.com/v2/sd4-med-depth"


@pytest.mark.parametrize(
    ("options", "version", "url", "seconds"),
    [
        ({}, "v2", "v2", 60),
        ({}, "v1", "v1", 300),
        ({"api_version": "v1"}, "v2", "v1", 300),
        ({"api_version": "v2"}, "v1", "v2", 60),
    ],
)
def test_the_version_is_a_setting_that_a_request_may_override(
    options: dict[str, object], version: Literal["v1", "v2"], url: str, seconds: float
) -> None:
    """v1 blocks until the picture is there, so it is waited for longer."""
    call = settled(resolved_request(options=options), version)
    assert (call.url, call.timeout_seconds) == (f"https://api.segmind.com/{url}/sd3-med-pose", seconds)


def test_a_model_without_v2_is_asked_through_v1(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table says which model that is, so nothing is sent twice."""
    old = dataclasses.replace(MODELS[0], name="old-pose", asynchronous=False)
    monkeypatch.setattr(SegmindProvider, "specs", (*MODELS, old))
    assert settled(resolved_request(model="old-pose")).url == "https://api.segmind.com/v1/old-pose"


def test_base64_is_always_decided() -> None:
    """The pages contradict each other about its default; only several pictures through v1 need it."""
    assert body_of(resolved_request())["base64"] is False
    assert body_of(resolved_request(), "v1")["base64"] is False
    assert body_of(resolved_request(num_images=2), "v1")["base64"] is True
    assert body_of(resolved_request(options={"base64": True}))["base64"] is True
    assert features(resolved_request(num_images=2), "v1") == ["num_images"]
    assert features(resolved_request(num_images=2), "v2") == []


def test_the_picture_goes_the_cheapest_way() -> None:
    """As its link when it has one, inline when it is small, through storage when it is large."""
    large = resolved_request(control={"picture": LARGE})
    provider = adapter()
    assert provider.uploads(resolved_request()) == ()
    assert (
        provider.uploads(resolved_request(control={"picture": LARGE.model_copy(update={"size_bytes": 4_000_000})}))
        == ()
    )
    assert body_of(resolved_request())["image"] == PictureData(PICTURE, "base64")
    assert provider.uploads(large) == (LARGE,)
    assert body_of(large)["image"] == LINK
    linked = resolved_request(control={"picture": LARGE, "source_url": "https://elsewhere.example/a.png"})
    assert provider.uploads(linked) == ()
    assert body_of(linked)["image"] == "https://elsewhere.example/a.png"
    assert body_of(resolved_request(control={"source_url": "http://192.168.0.2/a.png"}))["image"] == PictureData(
        PICTURE, "base64"
    )


@pytest.mark.parametrize("model", [model for model in MODELS if not model.inline], ids=lambda model: model.name)
def test_the_flux_tools_only_get_links(model: SegmindModel) -> None:
    """Their pages document a file or a link, never base64."""
    request = resolved_request(next(iter(model.keeps)), model=model.name)
    assert adapter().uploads(request) == (PICTURE,)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v2/"])
def test_a_base_url_may_be_written_as_in_the_vendors_client(ending: str) -> None:
    """The client's base URL ends in /v1; both spellings lead to the same place."""
    provider = adapter(base_url=f"https://proxy.example/segmind{ending}")
    call = provider.build(resolved_request(), "reference", {})
    assert call.url == "https://proxy.example/segmind/v2/sd3-med-pose"


@pytest.mark.parametrize(
    "options",
    [{"control_strength": 1.1}, {"safety_tolerance": 7}, {"quality": 0}, {"api_version": "v3"}, {"strenght": 1}],
)
def test_a_knob_outside_its_range_is_refused(options: dict[str, object]) -> None:
    """As is one that does not exist."""
    with pytest.raises(ValidationError):
        SegmindOptions.model_validate(options)


def test_a_dry_run_shows_no_key_and_no_picture() -> None:
    """The key is hidden and the picture is named by its hash."""
    call = settled(resolved_request())
    shown = f"{show(call.json)} {shown_headers(call)} {call!r} {call.url}"
    assert KEY not in shown
    assert "(base64 of image/png, sha256 aaaaaaaaaaaa, 50000 bytes)" in shown
