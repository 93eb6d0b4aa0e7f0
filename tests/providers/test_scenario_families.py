"""Scenario's model families: what each refuses, adjusts or leaves out, and that it is said."""

import pytest
from pydantic import JsonValue

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.providers.scenario.models import family_of
from tests.providers.test_scenario import CUSTOM, FLUX, PICTURE, SD15, SDXL, controls, fitted, sent

FAMILY_MODALITIES = {
    SD15: {"canny", "pose", "depth", "mlsd", "seg", "scribble", "lineart", "normal", "illusion"},
    SDXL: {"canny", "pose", "depth", "seg", "illusion", "scribble"},
    FLUX: {"canny", "tile", "depth", "blur", "pose", "gray", "low-quality", "sketch"},
    "flux.1-schnell": {"canny", "tile", "depth", "blur", "pose", "gray", "low-quality", "sketch"},
}
"""The schema's lists, in our names; `sketch` is the guide's."""

ALL = FAMILY_MODALITIES[SD15] | FAMILY_MODALITIES[FLUX]
PRESETS = {SD15: {"character", "landscape", "city", "interior"}, SDXL: {"character", "landscape"}, FLUX: set[str]()}


def refused(**changes: object) -> ControlNetError:
    """The refusal of a request, with its way out."""
    with pytest.raises(ControlNetError) as caught:
        fitted(**changes)
    assert caught.value.hint
    return caught.value


def told(**changes: object) -> set[tuple[str, str]]:
    """What had to be said of a request: kind and feature."""
    return {(notice.kind, notice.feature) for notice in fitted(**changes).warnings}


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("flux.1-dev", "flux-dev"),
        ("flux.1", "flux-dev"),
        ("flux.1-lora", "flux-dev"),
        ("flux.1-krea-dev", "flux-dev"),
        ("flux.1-schnell", "flux-schnell"),
        ("flux.1-pro", "flux-pro"),
        ("flux.1.1-pro-ultra", "flux-pro"),
        ("flux1.1-pro", "flux-pro"),
        ("flux.2-dev-lora", None),
        ("stable-diffusion-xl-base-1.0", "sdxl"),
        ("sd-xl-lora", "sdxl"),
        ("sdxl", "sdxl"),
        ("sd-1_5", "sd1.5"),
        ("sd1.5", "sd1.5"),
        ("stable-diffusion-v1-5", "sd1.5"),
        ("sd", "sd1.5"),
        ("model_eyVcnFJ9sd7xlBkz7N6g5w", None),
        ("juggernaut", None),
    ],
)
def test_the_family_is_told_by_the_model_s_id(model: str, family: str | None) -> None:
    """Ids and types of the client's lists; opaque ids tell nothing."""
    assert family_of(model) == family


@pytest.mark.parametrize("model", FAMILY_MODALITIES)
@pytest.mark.parametrize("modality", sorted(ALL))
def test_each_family_has_its_modalities(model: str, modality: str) -> None:
    """A name of another family is refused before anything is sent, and the hint says who has it."""
    if modality in FAMILY_MODALITIES[model]:
        assert sent(model=model, controls=controls(modality))["modality"]
    else:
        error = refused(model=model, controls=controls(modality))
        assert error.code == "unsupported"
        assert "choose a model of" in error.hint


@pytest.mark.parametrize(("model", "most"), [(SD15, 3), (SDXL, 3), (FLUX, 1), ("flux.1-schnell", 1)])
def test_each_family_has_its_number_of_modalities(model: str, most: int) -> None:
    """Three for SD 1.5 and SDXL, one for Flux."""
    names = ("canny", "pose", "depth")
    assert sent(model=model, controls=controls(*names[:most]))["modality"] == ",".join(names[:most])
    if most < 3:
        assert refused(model=model, controls=controls(*names[: most + 1])).code == "unsupported"


@pytest.mark.parametrize("preset", ["character", "landscape", "city", "interior"])
@pytest.mark.parametrize("model", PRESETS)
def test_each_family_has_its_presets(model: str, preset: str) -> None:
    """A preset stands instead of the modality, with its own weight, and that is said."""
    options: dict[str, JsonValue] = {"preset": preset, "preset_weight": 0.8}
    if preset in PRESETS[model]:
        assert sent(model=model, options=options)["modality"] == f"{preset}:0.8"
        assert ("adjusted", "modality") in told(model=model, options=options)
    else:
        assert refused(model=model, options=options).code == "unsupported"


def test_an_unknown_family_may_ask_for_what_any_has_and_is_told_so() -> None:
    """Custom ids say nothing; the caller may say the family, and then its rules hold."""
    assert sent(model=CUSTOM, controls=controls("tile"))["modality"] == "tile"
    assert ("assumed", "model") in told(model=CUSTOM)
    assert told(model=CUSTOM, options={"family": "sdxl"}) == set()
    assert refused(model=CUSTOM, options={"family": "sdxl"}, controls=controls("tile")).code == "unsupported"
    assert refused(model=CUSTOM, options={"baseModelId": FLUX}, controls=controls("seg")).code == "unsupported"


def test_without_a_model_flux_dev_is_taken_and_named() -> None:
    """The guide's own; the vendor has no default."""
    assert sent(model=None)["modelId"] == FLUX
    assert ("assumed", "model") in told(model=None)


def test_flux_is_said_to_make_no_maps() -> None:
    """A photo would be used as a map there; a ready map, or a picture that is no map by nature, is fine."""
    assert ("assumed", "control_image") in told(model=FLUX, controls=controls("pose"))
    assert told(model=FLUX, controls=controls("pose", is_map=True)) == set()
    assert told(model=FLUX, controls=controls("tile")) == set()


def test_weights_stay_in_the_vendor_s_range() -> None:
    """Above 0 up to 1: more is lowered and said, nothing is refused."""
    assert sent(controls=controls("canny", weight=1.5))["modality"] == "canny"
    assert ("adjusted", "weight") in told(controls=controls("canny", weight=1.5))
    assert refused(controls=controls("canny", weight=0)).code == "invalid_request"


@pytest.mark.parametrize(
    ("model", "asked", "drawn"),
    [
        (SD15, (1536, 1024), (1024, 680)),
        (SDXL, (256, 256), (512, 512)),
        (SDXL, (2048, 1024), (2048, 1024)),
        (FLUX, (64, 64), (64, 64)),
    ],
)
def test_sizes_fit_the_family(model: str, asked: tuple[int, int], drawn: tuple[int, int]) -> None:
    """64 to 2048 in eights; SD 1.5 ends at 1024, SDXL begins at 512."""
    body = sent(model=model, width=asked[0], height=asked[1])
    assert (body["width"], body["height"]) == drawn
    assert (("adjusted", "width and height") in told(model=model, width=asked[0], height=asked[1])) is (asked != drawn)


@pytest.mark.parametrize(
    ("model", "asked", "used"), [(FLUX, 20, 10), ("flux.1-pro", 1, 2), (SDXL, 30, 20), (SD15, 25, 20)]
)
def test_guidance_stays_in_the_family_s_range(model: str, asked: float, used: float) -> None:
    """And the change is said."""
    assert sent(model=model, guidance=asked)["guidance"] == used
    assert ("adjusted", "guidance") in told(model=model, guidance=asked)


def test_steps_and_strength_stay_in_range() -> None:
    """1 to 150 and 0.01 to 1."""
    body = sent(steps=400, init_image=PICTURE, strength=0)
    assert (body["numInferenceSteps"], body["strength"]) == (150, 0.01)
    said = told(steps=400, init_image=PICTURE, strength=0)
    assert {("adjusted", "steps"), ("adjusted", "strength")} <= said


def test_a_scheduler_is_for_stable_diffusion() -> None:
    """Flux has no choice of one; a name that nobody has is refused with the list."""
    assert "scheduler" not in sent(model=FLUX, scheduler="DDIM")
    assert ("unsupported", "scheduler") in told(model=FLUX, scheduler="DDIM")
    assert "EulerDiscrete" in refused(scheduler="Karras").hint
    assert {refused(scheduler="Karras", model=name).code for name in (FLUX, None)} == {"invalid_request"}


def test_a_negative_prompt_needs_a_strength_on_flux_dev() -> None:
    """One is taken and said; schnell has none at all, and a guidance below 1 makes it nothing."""
    assert sent(model=FLUX, negative_prompt="fog")["negativePromptStrength"] == 0.5
    assert ("assumed", "negative_prompt") in told(model=FLUX, negative_prompt="fog")
    assert "negativePrompt" not in sent(model="flux.1-schnell", negative_prompt="fog")
    assert ("unsupported", "negative_prompt") in told(model="flux.1-schnell", negative_prompt="fog")
    assert ("unsupported", "negative_prompt") in told(negative_prompt="fog", guidance=0.5)
    inpainting = {"model": FLUX, "negative_prompt": "fog", "init_image": PICTURE, "mask_image": PICTURE}
    assert "negativePrompt" not in sent(**inpainting)


def test_the_range_of_the_control_is_for_flux_dev() -> None:
    """Elsewhere it is left out and said."""
    options: dict[str, JsonValue] = {"control_start": 0.1, "control_end": 0.5}
    assert "controlStart" not in sent(options=options)
    assert {("unsupported", f"provider_options.{name}") for name in options} <= told(options=options)
    assert sent(model=FLUX, options=options)["controlEnd"] == 0.5


@pytest.mark.parametrize(
    "options", [{"ip_adapter_image_ids": ["asset_style"]}, {"seamless": True}], ids=["ip-adapter", "texture"]
)
def test_what_no_endpoint_combines_is_refused(options: dict[str, JsonValue]) -> None:
    """The inpaint-and-IP-adapter sibling has no modality in the published schema, so it is not used."""
    assert refused(init_image=PICTURE, options=options).code == "unsupported"
    assert refused(init_image=PICTURE, mask_image=PICTURE, options=options).code == "unsupported"


def test_scales_go_with_pictures() -> None:
    """One for each IP-adapter picture."""
    options: dict[str, JsonValue] = {"ip_adapter_image_ids": ["asset_style"], "ip_adapter_scales": [0.5, 0.6]}
    assert refused(options=options).code == "invalid_request"


def test_fitting_twice_changes_nothing_more() -> None:
    """A fitted request is one that needs no more fitting."""
    once = fitted(model=FLUX, negative_prompt="fog", guidance=30, controls=controls("canny", weight=2, is_map=True))
    again = fitted(**dict(once.request))
    assert again.request == once.request
    assert again.warnings == ()
