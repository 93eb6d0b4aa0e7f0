"""Scenario: every field, modality, preset and limit of its guide and schema, in the request that is sent."""

import json

import pytest
from pydantic import JsonValue, SecretStr, ValidationError

from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.scenario.adapter import ScenarioProvider, ScenarioSettings
from controlnet_mcp.providers.types import Control, FittedRequest, ResolvedRequest
from tests.support.simulators.scenario_store import KEY, SECRET

PICTURE = StoredPicture(sha256="ab" * 32, mime_type="image/png", width=64, height=64, size_bytes=900)
LARGE = StoredPicture(sha256="cd" * 32, mime_type="image/png", width=4000, height=4000, size_bytes=7_000_000)
SD15, SDXL, FLUX = "stable-diffusion-v1-5", "stable-diffusion-xl-base-1.0", "flux.1-dev"
CUSTOM = "model_eyVcnFJcR92BxBkz7N6g5w"

MODALITIES_OF_PAGE: dict[str, tuple[str, str]] = {
    "blur": ("blur", FLUX),
    "tile": ("tile", FLUX),
    "gray": ("gray", "flux.1-schnell"),
    "low-quality": ("low-quality", FLUX),
    "sketch": ("sketch", FLUX),
    "seg": ("seg", SDXL),
    "illusion": ("illusion", SDXL),
    "scribble": ("scribble", SDXL),
    "canny": ("canny", FLUX),
    "pose": ("pose", FLUX),
    "depth": ("depth", FLUX),
    "lines": ("mlsd", SD15),
    "lineart": ("lineart", SD15),
    "normal-map": ("normal", SD15),
}
"""The vendor's names (guide and schema) to ours, and a model that has them."""

FIELDS: dict[str, tuple[dict[str, object], JsonValue]] = {
    "prompt": ({}, "a house"),
    "modelId": ({"model": SD15}, SD15),
    "modality": ({}, "canny"),
    "controlImage": ({}, "(data_url of image/png, sha256 abababababab, 900 bytes)"),
    "controlImageId": ({"controls": ({"modality": "canny", "asset_id": "asset_GTrL3"},)}, "asset_GTrL3"),
    "image": ({"init_image": PICTURE}, "(data_url of image/png, sha256 abababababab, 900 bytes)"),
    "strength": ({"init_image": PICTURE, "strength": 0.4}, 0.4),
    "numSamples": ({"num_images": 3}, 3),
    "guidance": ({"guidance": 9.0}, 9.0),
    "numInferenceSteps": ({"steps": 25}, 25),
    "width": ({"width": 768}, 768),
    "height": ({"height": 640}, 640),
    "scheduler": ({"scheduler": "EulerAncestralDiscrete"}, "EulerAncestralDiscreteScheduler"),
    "seed": ({"seed": 42}, "42"),
    "controlStart": ({"model": FLUX, "options": {"control_start": 0.1}}, 0.1),
    "controlEnd": ({"model": FLUX, "options": {"controlEnd": 0.9}}, 0.9),
    "disableModalityDetection": ({}, False),
    "negativePrompt": ({"negative_prompt": "fog"}, "fog"),
    "negativePromptStrength": ({"model": FLUX, "options": {"negative_prompt_strength": 0.3}}, 0.3),
    "concepts": (
        {"options": {"concepts": [{"modelId": "model_a", "scale": 0.8, "modelEpoch": "000001"}]}},
        [{"modelId": "model_a", "scale": 0.8, "modelEpoch": "000001"}],
    ),
    "baseModelId": ({"model": CUSTOM, "options": {"base_model_id": FLUX}}, FLUX),
    "modelEpoch": ({"options": {"modelEpoch": "000002"}}, "000002"),
    "hideResults": ({"options": {"hide_results": True}}, True),
    "intermediateImages": ({"options": {"intermediateImages": True}}, True),
    "imageHide": ({"options": {"image_hide": True}}, True),
    "imageParentId": ({"options": {"imageParentId": "asset_parent"}}, "asset_parent"),
    "mask": (
        {"init_image": PICTURE, "mask_image": PICTURE},
        "(data_url of image/png, sha256 abababababab, 900 bytes)",
    ),
    "maskId": ({"init_image": PICTURE, "mask_image": LARGE}, "asset_large"),
    "disableMerging": (
        {"init_image": PICTURE, "mask_image": PICTURE, "options": {"disable_merging": True}},
        True,
    ),
    "ipAdapterImageIds": ({"options": {"ip_adapter_image_ids": ["asset_style"]}}, ["asset_style"]),
    "ipAdapterScales": (
        {"options": {"ip_adapter_image_ids": ["asset_style"], "ipAdapterScales": [0.6]}},
        [0.6],
    ),
    "ipAdapterType": (
        {"options": {"ip_adapter_image_ids": ["asset_style"], "ipAdapterType": "character"}},
        "character",
    ),
}
"""Every field of the guide and the schema (but deprecated ones): what to ask for, and what must be sent."""


def provider(base_url: str = "https://api.cloud.scenario.com/v1") -> ScenarioProvider:
    """An adapter with keys."""
    settings = ScenarioSettings(base_url=base_url, api_key=SecretStr(KEY), api_secret=SecretStr(SECRET))
    return ScenarioProvider(settings)


def request(**changes: object) -> ResolvedRequest:
    """A small request for an SDXL model with a picture of its own."""
    control = Control(modality="canny", picture=PICTURE)
    fields = {"prompt": "a house", "controls": (control,), "model": SDXL, "width": 512, "height": 512, "seed": 7}
    return ResolvedRequest.model_validate(fields | changes)


def fitted(**changes: object) -> FittedRequest:
    """What becomes of a request."""
    return provider().fit(request(**changes))


def sent(**changes: object) -> dict[str, JsonValue]:
    """The body as a dry run shows it, after fitting."""
    body = show(provider().build(fitted(**changes).request, "", {LARGE.sha256: "asset_large"}).json)
    assert isinstance(body, dict)
    return body


def controls(*names: str, weight: float = 1.0, is_map: bool = False) -> tuple[Control, ...]:
    """Controls on one picture."""
    return tuple(Control(modality=name, picture=PICTURE, weight=weight, is_map=is_map) for name in names)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_the_page_is_sent(field: str) -> None:
    """What the caller asks for arrives under the vendor's own name."""
    asked, expected = FIELDS[field]
    assert sent(**asked)[field] == expected


def test_the_fields_are_those_of_the_adapter() -> None:
    """A field that the adapter sends and the table above does not know would go untested."""
    options = {name: asked["options"] for name, (asked, _) in FIELDS.items() if "options" in asked}
    known = set(FIELDS)
    for name in options:
        assert set(sent(**FIELDS[name][0])) <= known
    assert set(sent(init_image=PICTURE, mask_image=PICTURE, negative_prompt="fog", steps=3, scheduler="DDIM")) <= known


@pytest.mark.parametrize("native", MODALITIES_OF_PAGE)
def test_every_modality_of_the_page_is_sent_under_its_own_name(native: str) -> None:
    """With its weight, `name:value`."""
    ours, model = MODALITIES_OF_PAGE[native]
    assert ScenarioProvider.capabilities.modalities[ours].native == native
    assert sent(controls=controls(ours, weight=0.5), model=model)["modality"] == f"{native}:0.5"


def test_all_modalities_that_are_offered_are_tested() -> None:
    """The table above and the capabilities name the same ones."""
    assert {row.native for row in ScenarioProvider.capabilities.modalities.values()} == set(MODALITIES_OF_PAGE)


def test_several_modalities_share_one_picture() -> None:
    """The list as the schema writes it; weights appear as soon as one is not 1."""
    assert sent(controls=controls("canny", "depth"))["modality"] == "canny,depth"
    mixed = (*controls("depth", weight=0.5), *controls("pose"))
    body = sent(controls=mixed)
    assert body["modality"] == "depth:0.5,pose:1"
    assert "controlImage" in body


@pytest.mark.parametrize(("is_map", "disabled"), [(True, True), (False, False)])
def test_detection_follows_whether_the_picture_is_a_map(*, is_map: bool, disabled: bool) -> None:
    """A ready map is not preprocessed again, a photo is."""
    assert sent(controls=controls("pose", is_map=is_map))["disableModalityDetection"] is disabled


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, "controlnet"),
        ({"init_image": PICTURE}, "controlnet-img2img"),
        ({"init_image": PICTURE, "mask_image": PICTURE}, "controlnet-inpaint"),
        ({"options": {"ip_adapter_image_ids": ["asset_style"]}}, "controlnet-ip-adapter"),
        ({"options": {"seamless": True}}, "controlnet-texture"),
    ],
)
def test_each_kind_has_its_endpoint(changes: dict[str, object], path: str) -> None:
    """The siblings of the schema, as one paid call each."""
    call = provider().build(fitted(**changes).request, "", {})
    assert (call.method, call.submits) == ("POST", True)
    assert call.url == f"https://api.cloud.scenario.com/v1/generate/{path}"


def test_query_parameters_are_sent() -> None:
    """`projectId` and `originalAssets`, in either spelling."""
    for options in ({"project_id": "proj_1", "original_assets": True}, {"projectId": "proj_1", "originalAssets": True}):
        call = provider().build(request(options=options), "", {})
        assert dict(call.query) == {"projectId": "proj_1", "originalAssets": "true"}


def test_defaults_that_the_sources_disagree_on_are_always_sent() -> None:
    """Strength, number of pictures, and the family's guidance."""
    body = sent(init_image=PICTURE)
    assert (body["strength"], body["numSamples"], body["guidance"]) == (0.75, 1, 6)


@pytest.mark.parametrize(
    ("model", "usual"), [(SD15, 7.5), (SDXL, 6), ("flux.1-dev", 3.5), ("flux.1-pro", 3), ("flux.1-schnell", None)]
)
def test_the_usual_guidance_is_the_family_s(model: str, usual: float | None) -> None:
    """As the schema lists them."""
    assert sent(model=model).get("guidance") == usual


@pytest.mark.parametrize("name", ScenarioProvider.capabilities.schedulers)
def test_every_scheduler_is_taken_with_and_without_its_suffix(name: str) -> None:
    """The guide writes `EulerAncestralDiscrete`, the schema wants the suffix."""
    assert sent(scheduler=name)["scheduler"] == name
    assert sent(scheduler=name.removesuffix("Scheduler").lower())["scheduler"] == name


def test_small_pictures_go_inside_the_call_and_large_ones_by_their_upload() -> None:
    """Each large picture is uploaded once, whatever it is used for."""
    resolved = request(controls=(Control(modality="canny", picture=LARGE),), init_image=LARGE, mask_image=PICTURE)
    assert provider().uploads(resolved) == (LARGE,)
    assert provider().uploads(request()) == ()
    body = provider().build(resolved, "", {LARGE.sha256: "asset_large"}).json
    assert isinstance(body, dict)
    assert (body["controlImageId"], body["image"]) == ("asset_large", "asset_large")
    assert "controlImage" not in body


def test_links_are_never_passed_on() -> None:
    """Whether the service takes http links is not settled between its sources: the picture itself is sent."""
    control = Control(modality="canny", picture=PICTURE, source_url="https://example.com/house.png")
    assert "example.com" not in json.dumps(sent(controls=(control,)))


def test_unknown_options_are_refused() -> None:
    """A misspelt knob is an error, not a silent drop."""
    with pytest.raises(ValidationError):
        provider().options.model_validate({"controlStrat": 0.2})


def test_keys_are_never_shown() -> None:
    """Not in the representation of a call or of the adapter, nor in what a dry run prints."""
    adapter = provider()
    call = adapter.build(request(), "", {})
    shown = f"{call!r} {adapter!r} {show(call.json)} {shown_headers(call)} {call.url} {dict(call.query)}"
    assert SECRET not in shown
    assert KEY not in shown
    assert "authorization" in call.headers
