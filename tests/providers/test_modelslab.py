"""ModelsLab: every field, type and scheduler of its page as it is sent, and what is settled before."""

import json
from collections.abc import Mapping

import pytest
from pydantic import JsonValue, SecretStr

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.modalities import resolve
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.modelslab.adapter import ModelsLabProvider, ModelsLabSettings
from controlnet_mcp.providers.placeholders import show
from controlnet_mcp.providers.types import Control, RequestWarning, ResolvedRequest

KEY = "canary-key-of-modelslab"
CONTROL = StoredPicture(sha256="ab" * 32, mime_type="image/png", width=512, height=512, size_bytes=99)
START = CONTROL.model_copy(update={"sha256": "cd" * 32})
MASK = CONTROL.model_copy(update={"sha256": "ef" * 32})
UPLOADED = {row.sha256: f"https://files.example/{row.sha256[:2]}.png" for row in (CONTROL, START, MASK)}
CONTROL_LINK, START_LINK, MASK_LINK = UPLOADED.values()

TYPES_OF_PAGE = (
    "canny depth hed mlsd normal openpose scribble segmentation aesthetic-controlnet inpaint softedge lineart shuffle "
    "tile face_detector"
)
SCHEDULERS_OF_PAGE = (
    "DDPM DDIM PNDM LMSDiscrete EulerDiscrete EulerAncestralDiscrete DPMSolverMultistep HeunDiscrete KDPM2Discrete "
    "DPMSolverSinglestep KDPM2AncestralDiscrete UniPCMultistep DDIMInverse DEISMultistep IPNDM KarrasVe ScoreSdeVe"
)
INIT: dict[str, object] = {"init_image": START, "strength": 0.3}

FIELDS_OF_PAGE: dict[str, list[tuple[dict[str, object], JsonValue]]] = {
    "key": [({}, "(secret)")],
    "model_id": [({}, "midjourney"), ({"model": "my-own-model"}, "my-own-model")],
    "controlnet_model": [({}, "canny"), ({"options": {"controlnet_model": "hed"}}, "hed")],
    "controlnet_type": [({}, "canny"), ({"options": {"controlnet_type": "hed"}}, "hed")],
    "auto_hint": [({}, "yes"), ({"is_map": True}, "no")],
    "guess_mode": [({}, "no"), ({"options": {"guess_mode": True}}, "yes")],
    "prompt": [({}, "a house")],
    "negative_prompt": [({}, None), ({"negative_prompt": "blurry"}, "blurry")],
    "init_image": [({}, CONTROL_LINK), (INIT, START_LINK)],
    "control_image": [({}, CONTROL_LINK), (INIT, CONTROL_LINK)],
    "mask_image": [({}, None), ({**INIT, "mask_image": MASK}, MASK_LINK)],
    "width": [({}, 512)],
    "height": [({}, 768)],
    "samples": [({}, 1), ({"num_images": 4}, 4)],
    "scheduler": [({}, "UniPCMultistepScheduler"), ({"scheduler": "DDIM"}, "DDIMScheduler")],
    "tomesd": [({}, "yes"), ({"options": {"tomesd": False}}, "no")],
    "use_karras_sigmas": [({}, "yes"), ({"options": {"use_karras_sigmas": False}}, "no")],
    "num_inference_steps": [({}, 31), ({"steps": 21}, 21)],
    "safety_checker": [({}, "yes"), ({"options": {"safety_checker": False}}, "no")],
    "enhance_prompt": [({}, "yes"), ({"options": {"enhance_prompt": False}}, "no")],
    "guidance_scale": [({}, 7.5), ({"guidance": 9}, 9)],
    "strength": [({}, 1.0), (INIT, 0.3), ({"init_image": START}, 0.55)],
    "seed": [({}, 11)],
    "webhook": [({}, None), ({"options": {"webhook": "https://example.com/hook"}}, "https://example.com/hook")],
    "track_id": [({}, "our-reference")],
}
"""Every field of the page's table, in its order."""

FIELDS_OF_LATER_PAGES: dict[str, list[tuple[dict[str, object], JsonValue]]] = {
    "controlnet_conditioning_scale": [({}, 1.0), ({"weight": 0.7}, 0.7)],
    "multi_lingual": [({}, "yes"), ({"options": {"multi_lingual": False}}, "no")],
    "algorithm_type": [({}, "none"), ({"scheduler": "DPM++ 2M SDE"}, "dpmsolver+++")],
    "vae": [({"options": {"vae": "own"}}, "own")],
    "lora_model": [({"options": {"lora_model": "a,b"}}, "a,b")],
    "lora_strength": [({"options": {"lora_strength": "0.5,1"}}, "0.5,1")],
    "embeddings_model": [({"options": {"embeddings_model": "e"}}, "e")],
    "clip_skip": [({"options": {"clip_skip": 2}}, 2)],
    "upscale": [({}, "no"), ({"options": {"upscale": True}}, "yes")],
    "base64": [({}, "no"), ({"options": {"base64": True}}, "yes")],
    "temp": [({}, "no"), ({"options": {"temp": True}}, "yes")],
    "ip_adapter_id": [({"options": {"ip_adapter_id": "ip-adapter_sd15"}}, "ip-adapter_sd15")],
    "ip_adapter_scale": [({"options": {"ip_adapter_scale": 0.4}}, 0.4)],
    "ip_adapter_image": [({"options": {"ip_adapter_image": "https://example.com/f.png"}}, "https://example.com/f.png")],
}
"""What the enterprise page of today and the community schema add."""

CASES = [(name, *case) for name, cases in (FIELDS_OF_PAGE | FIELDS_OF_LATER_PAGES).items() for case in cases]


def provider(plan: str = "enterprise", **more: str) -> ModelsLabProvider:
    """The adapter with a key that must never be seen."""
    values = {"api_key": SecretStr(KEY), "plan": plan, **more}
    return ModelsLabProvider(ModelsLabSettings.model_validate(values))


def request(control: Mapping[str, object] | None = None, **more: object) -> ResolvedRequest:
    """A request, with changes."""
    one = Control.model_validate({"modality": "canny", "picture": CONTROL, **(control or {})})
    values: dict[str, object] = {"prompt": "a house", "controls": (one,), "width": 512, "height": 768, "seed": 11}
    return ResolvedRequest.model_validate(values | more)


def several(*modalities: str, **more: object) -> ResolvedRequest:
    """A request with several modalities of one picture."""
    controls = tuple(Control(modality=name, picture=CONTROL) for name in modalities)
    return request(None, controls=controls, **more)


def called(resolved: ResolvedRequest, plan: str = "enterprise", **more: str) -> HttpCall:
    """The call that a request becomes once it is settled."""
    adapter = provider(plan, **more)
    return adapter.build(adapter.fit(resolved).request, "our-reference", UPLOADED)


def sent(resolved: ResolvedRequest, plan: str = "enterprise") -> dict[str, JsonValue]:
    """The body of that call, secrets hidden."""
    body = show(called(resolved, plan).json)
    assert isinstance(body, dict)
    return body


def notices(resolved: ResolvedRequest, plan: str = "enterprise") -> tuple[RequestWarning, ...]:
    """What had to be said when a request was settled."""
    return provider(plan).fit(resolved).warnings


@pytest.mark.parametrize(("name", "asked", "expected"), CASES)
def test_every_field_of_the_pages_is_sent(name: str, asked: dict[str, object], expected: JsonValue) -> None:
    """What the caller asks for arrives under the vendor's own name, and conflicting defaults are spelled out."""
    of_control = {key: asked[key] for key in asked.keys() & {"is_map", "weight"}}
    resolved = request(of_control, **{key: asked[key] for key in asked.keys() - of_control.keys()})
    assert sent(resolved, "community")[name] == expected


def test_no_field_is_sent_without_a_case() -> None:
    """A field that the adapter sends and the tables above do not know would go untested, and the other way round."""
    everything: dict[str, object] = {"vae": "v", "lora_model": "l", "lora_strength": "1", "embeddings_model": "e"}
    adapter = {"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_scale": 1, "ip_adapter_image": "https://example.com/f"}
    body = sent(request(options={**everything, **adapter, "clip_skip": 1}), "community")
    assert set(body) == set(FIELDS_OF_PAGE) | set(FIELDS_OF_LATER_PAGES)


@pytest.mark.parametrize("name", [*TYPES_OF_PAGE.split(), "qrcode"])
def test_every_type_of_the_page_is_offered_under_its_own_name(name: str) -> None:
    """The page's fifteen, and one of a later page: `hed` is soft edges, whose own name remains an option."""
    modality = resolve(name).name
    more: dict[str, object] = {"init_image": START, "mask_image": MASK} if name == "inpaint" else {}
    body = sent(request({"modality": modality}, **more))
    assert body["controlnet_model"] == body["controlnet_type"] == name.replace("hed", "softedge")


@pytest.mark.parametrize("name", ["canny", "tile", "depth", "blur", "pose", "gray", "low_quality"])
def test_flux_has_types_of_its_own(name: str) -> None:
    """With `fluxdev`, under the names of the vendor's Flux table."""
    body = sent(request({"modality": resolve(name).name}, model="fluxdev"))
    assert (body["controlnet_model"], body["model_id"]) == (name, "fluxdev")


@pytest.mark.parametrize("name", [*SCHEDULERS_OF_PAGE.split(), "LCM"])
def test_every_scheduler_of_the_page_is_known_with_and_without_its_suffix(name: str) -> None:
    """The suffix is added when it is missing, in any case."""
    for spelling in (name, f"{name}Scheduler", name.lower()):
        assert sent(request(scheduler=spelling))["scheduler"] == f"{name}Scheduler"
    assert f"{name}Scheduler" in ModelsLabProvider.capabilities.schedulers


@pytest.mark.parametrize(
    ("name", "scheduler", "karras", "algorithm"),
    [
        ("DPM++ 2M", "DPMSolverMultistepScheduler", "no", "none"),
        ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", "yes", "none"),
        ("DPM++ 2M SDE Karras", "DPMSolverMultistepScheduler", "yes", "dpmsolver+++"),
        ("Euler a", "EulerAncestralDiscreteScheduler", "no", "none"),
        ("LMS Karras", "LMSDiscreteScheduler", "yes", "none"),
    ],
)
def test_sampler_names_of_automatic1111_are_understood(name: str, scheduler: str, karras: str, algorithm: str) -> None:
    """The vendor's page maps them to a scheduler, Karras sigmas and an algorithm."""
    body = sent(request(scheduler=name))
    assert (body["scheduler"], body["use_karras_sigmas"], body["algorithm_type"]) == (scheduler, karras, algorithm)


def test_an_unknown_scheduler_names_the_nearest() -> None:
    """An error before anything is sent."""
    with pytest.raises(RequestError) as caught:
        provider().fit(request(scheduler="eulr"))
    assert "Euler" in caught.value.hint


@pytest.mark.parametrize(
    ("plan", "prefix", "url"),
    [
        ("enterprise", "/v1/enterprise", "https://modelslab.com/api/v1/enterprise/controlnet"),
        ("enterprise", "v1/enterprise/images/", "https://modelslab.com/api/v1/enterprise/images/controlnet"),
        ("community", "/v1/enterprise", "https://modelslab.com/api/v5/controlnet"),
    ],
)
def test_each_plan_has_its_path(plan: str, prefix: str, url: str) -> None:
    """The page's layout by default; the prefix is the operator's; the key is never in the address or a header."""
    call = called(request(), plan, enterprise_prefix=prefix)
    assert (call.method, call.url, dict(call.headers), call.submits) == ("POST", url, {}, True)


def test_the_key_is_inside_the_body_and_never_shown() -> None:
    """A secret leaf: neither the representation of the call nor a dry run has it."""
    call = called(request())
    assert isinstance(call.json, dict)
    assert call.json["key"] == SecretStr(KEY)
    assert KEY not in repr(call)
    assert KEY not in json.dumps(show(call.json))


def test_several_modalities_are_a_comma_list_in_order() -> None:
    """One picture for all, and the type of the first, as in the vendor's example."""
    body = sent(several("pose", "canny", "face"))
    assert body["controlnet_model"] == "openpose,canny,face_detector"
    assert body["controlnet_type"] == "openpose"
    assert body["control_image"] == CONTROL_LINK


@pytest.mark.parametrize(
    ("resolved", "plan"),
    [
        (several("canny", "depth", model="fluxdev"), "enterprise"),
        (request({"modality": "mlsd"}, model="fluxdev"), "enterprise"),
        (request({"modality": "gray"}, model="midjourney"), "enterprise"),
        (several("gray", "canny"), "enterprise"),
        (request({"modality": "aesthetic"}), "community"),
        (request(model="fluxdev", options={"controlnet_model": "canny,depth"}), "enterprise"),
    ],
)
def test_what_a_model_cannot_do_is_refused_before_it_is_sent(resolved: ResolvedRequest, plan: str) -> None:
    """With what can be done instead."""
    with pytest.raises(RequestError) as caught:
        provider(plan).fit(resolved)
    assert caught.value.code == "unsupported"
    assert caught.value.hint


def test_a_type_of_flux_chooses_flux() -> None:
    """Only when no model was named, and it is told."""
    resolved = request({"modality": "gray"})
    assert sent(resolved)["model_id"] == "fluxdev"
    assert [row.feature for row in notices(resolved)] == ["model"]


def test_a_mask_inpaints() -> None:
    """`inpaint` replaces the modality, since the page names no other with a mask, and the start picture is whole."""
    resolved = request(init_image=START, mask_image=MASK)
    body = sent(resolved)
    assert (body["controlnet_model"], body["mask_image"]) == ("inpaint", MASK_LINK)
    assert body["init_image"] == body["control_image"] == START_LINK
    assert [row.kind for row in notices(resolved)] == ["adjusted"]


def test_inpaint_and_another_modality_may_be_asked_for() -> None:
    """Then both are sent, in order."""
    body = sent(several("inpaint", "canny", init_image=START, mask_image=MASK))
    assert body["controlnet_model"] == "inpaint,canny"


def test_inpaint_without_a_mask_is_refused() -> None:
    """It has nothing to repaint."""
    with pytest.raises(RequestError, match="mask_image"):
        provider().fit(request({"modality": "inpaint"}))


@pytest.mark.parametrize(
    ("resolved", "field", "value", "feature"),
    [
        (request({"weight": 0.01}), "controlnet_conditioning_scale", 0.1, "weight"),
        (request({"weight": 0.5}), "controlnet_conditioning_scale", 0.5, "weight"),
        (request(guidance=0), "guidance_scale", 1, "guidance"),
        (request(guidance=30), "guidance_scale", 20, "guidance"),
        (request(steps=80), "num_inference_steps", 50, "steps"),
        (request(steps=12), "num_inference_steps", 12, "steps"),
    ],
)
def test_numbers_are_fitted_into_their_ranges_and_conflicts_are_told(
    resolved: ResolvedRequest, field: str, value: float, feature: str
) -> None:
    """Outside every range: adjusted; where the vendor's pages disagree: sent, with a word about it."""
    assert sent(resolved)[field] == value
    assert {row.feature for row in notices(resolved)} == {feature}


def test_one_scale_serves_all_controls() -> None:
    """Different weights are told, and the first one counts."""
    controls = tuple(Control(modality=name, picture=CONTROL, weight=weight) for name, weight in _WEIGHTS)
    assert sent(request(controls=controls), "community")["controlnet_conditioning_scale"] == 0.9
    assert [row.feature for row in notices(request(controls=controls), "community")] == ["weight"]


_WEIGHTS = (("canny", 0.9), ("depth", 0.4))


def test_the_ip_adapter_is_of_the_community_plan() -> None:
    """On the other plan it is left out, and that is told."""
    resolved = request(options={"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_scale": 0.5})
    assert "ip_adapter_id" not in sent(resolved)
    assert [row.kind for row in notices(resolved)] == ["unsupported"]


def test_which_of_two_pictures_is_preprocessed_is_not_known() -> None:
    """The vendor does not say; a ready map leaves no doubt."""
    assert [row.feature for row in notices(request(init_image=START))] == ["control_image"]
    assert not notices(request({"is_map": True}, init_image=START))


def test_links_are_passed_on_and_other_pictures_uploaded() -> None:
    """Plain http is no link that the vendor could open: the operator trusts such a host for himself."""
    adapter = provider()
    resolved = request({"source_url": "https://example.com/a.png"}, init_image=START, init_url="http://10.0.0.1/b.png")
    body = sent(resolved)
    assert (body["control_image"], body["init_image"]) == ("https://example.com/a.png", START_LINK)
    assert adapter.uploads(resolved) == (START,)
    assert adapter.uploads(request(init_image=CONTROL)) == (CONTROL,)


def test_a_picture_beyond_the_upload_limit_goes_inside() -> None:
    """Then the whole exchange is in base64, which is told; beyond that there is only a link."""
    large = CONTROL.model_copy(update={"size_bytes": 6_000_000})
    resolved = request({"picture": large})
    settled = provider().fit(resolved)
    assert provider().uploads(settled.request) == ()
    assert "base64 of image/png" in str(sent(resolved)["control_image"])
    assert [row.feature for row in settled.warnings] == ["base64"]
    with pytest.raises(RequestError, match="too large"):
        provider().fit(request({"picture": CONTROL.model_copy(update={"size_bytes": 20_000_000})}))
    linked = request({"picture": large, "source_url": "https://example.com/a.png"})
    assert sent(linked)["base64"] == "no"
