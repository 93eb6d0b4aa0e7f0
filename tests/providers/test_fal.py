"""fal: every field, path, status and error of its pages, on sample replies."""

import pytest
from pydantic import JsonValue, SecretStr

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.fal.adapter import FalProvider, FalSettings
from controlnet_mcp.providers.http import HttpCall
from controlnet_mcp.providers.placeholders import show
from controlnet_mcp.providers.types import Control, RemoteTask, Report, RequestWarning, ResolvedRequest
from tests.support.conversations import recorded
from tests.support.simulators.fal import KEY

LINK = "https://pictures.example/map.png"
HASH = "ab" * 32
PICTURE = StoredPicture(sha256=HASH, mime_type="image/png", width=640, height=480, size_bytes=99)
UNION, CANNY, DEPTH = (
    f"fal-ai/{name}" for name in ("sdxl-controlnet-union", "flux-control-lora-canny", "flux-control-lora-depth")
)
ID = "019af0c2-3b1e-7d40-8000-5c1f0a9b2e77"
BELOW = f"https://queue.fal.run/{UNION}/requests/{ID}"
START_LINK, MASK_LINK = (f"https://pictures.example/{name}.png" for name in ("start", "mask"))
START: dict[str, object] = {"init_url": START_LINK}
MASK: dict[str, object] = {"mask_url": MASK_LINK}
LORAS: JsonValue = [{"path": "owner/name", "scale": 1.5}]

FIELDS: dict[str, tuple[dict[str, object], JsonValue]] = {
    "prompt": ({}, "a house"),
    "image_size": ({"width": 768, "height": 1024}, {"width": 768, "height": 1024}),
    "num_images": ({"num_images": 3}, 3),
    "seed": ({"seed": 9}, 9),
    "num_inference_steps": ({"steps": 30}, 30),
    "guidance_scale": ({"guidance": 4.5}, 4.5),
    "loras": ({"options": {"loras": LORAS}}, LORAS),
    "enable_safety_checker": ({"options": {"enable_safety_checker": False}}, False),
    "sync_mode": ({"options": {"sync_mode": True}}, True),
    "image_url": (START, START_LINK),
    "strength": ({**START, "strength": 0.4}, 0.4),
}
"""What all models have: what to ask for, and what must be sent."""
FIELDS_OF_UNION: dict[str, tuple[dict[str, object], JsonValue]] = {
    **FIELDS,
    "negative_prompt": ({"negative_prompt": "blurry"}, "blurry"),
    "controlnet_conditioning_scale": ({"control": {"weight": 0.7}}, 0.7),
    "format": ({"options": {"output_format": "jpeg"}}, "jpeg"),
    "mask_url": ({**START, **MASK}, MASK_LINK),
    "canny_image_url": ({}, LINK),
    "canny_preprocess": ({"control": {"is_map": False}}, True),
    "openpose_image_url": ({"control": {"modality": "pose"}}, LINK),
    "depth_image_url": ({"control": {"modality": "depth"}}, LINK),
    "normal_image_url": ({"control": {"modality": "normal"}}, LINK),
    "segmentation_image_url": ({"control": {"modality": "seg"}}, LINK),
    "teed_image_url": ({"control": {"modality": "softedge"}}, LINK),
}
FIELDS_OF_CONTROL_LORA: dict[str, tuple[dict[str, object], JsonValue]] = {
    **FIELDS,
    "control_lora_image_url": ({}, LINK),
    "control_lora_strength": ({"control": {"weight": 1.4}}, 1.4),
    "output_format": ({"options": {"output_format": "jpeg"}}, "jpeg"),
    "preprocess_depth": ({}, False),
}

ERRORS = {
    "error_401": ("unauthorized", "refused"),
    "error_401_format": ("unauthorized", "refused"),
    "error_402": ("payment_required", "refused"),
    "error_403_access": ("unauthorized", "refused"),
    "error_404_model": ("not_found", "refused"),
    "error_409": ("provider_failed", "refused"),
    "error_422_download": ("image_unreadable", "refused"),
    "error_422_field": ("invalid_request", "refused"),
    "error_422_image": ("image_unreadable", "refused"),
    "error_422_missing": ("invalid_request", "refused"),
    "error_422_moderated": ("moderated", "refused"),
    "error_422_no_media": ("moderated", "refused"),
    "error_422_text": ("invalid_request", "refused"),
    "error_429": ("rate_limited", "refused"),
    "error_499_cancelled": ("canceled", "refused"),
    "error_500": ("provider_failed", "unknown"),
    "error_502_ingress": ("provider_failed", "unknown"),
    "error_503": ("provider_failed", "unknown"),
    "error_504": ("provider_failed", "unknown"),
    "error_504_user": ("provider_failed", "unknown"),
}
"""Sample reply to a submission: our code, and whether the vendor can have accepted it."""
FAILURES: dict[tuple[str, ...], str] = {
    ("completed_failed",): "timed_out",
    ("completed_cancelled",): "canceled",
    ("completed", "error_422_moderated"): "moderated",
    ("completed", "error_422_no_media"): "moderated",
    ("completed", "error_422_download"): "image_unreadable",
    ("completed", "error_422_image"): "image_unreadable",
    ("completed", "error_422_field"): "invalid_request",
    ("completed", "error_422_text"): "invalid_request",
    ("completed", "error_499_cancelled"): "canceled",
    ("completed", "error_504"): "timed_out",
}
"""Sample replies to the status and, where it is asked for, to the result: our code."""


def provider(base_url: str = "https://queue.fal.run") -> FalProvider:
    """An adapter with a key."""
    return FalProvider(FalSettings.model_validate({"key": SecretStr(KEY), "base_url": base_url}))


def request(control: dict[str, object] | None = None, **changes: object) -> ResolvedRequest:
    """A small request with a linked canny map."""
    unit = Control.model_validate({"modality": "canny", "source_url": LINK, "is_map": True, **(control or {})})
    fields = {"prompt": "a house", "controls": (unit,), "width": 1024, "height": 768, "seed": 7}
    return ResolvedRequest.model_validate(fields | changes)


def built(resolved: ResolvedRequest) -> HttpCall:
    """The submission, as the job layer makes it."""
    adapter = provider()
    return adapter.build(adapter.fit(resolved).request, "reference", {})


def sent(resolved: ResolvedRequest) -> dict[str, JsonValue]:
    """The body as a dry run shows it."""
    body = show(built(resolved).json)
    assert isinstance(body, dict)
    return body


def notices(resolved: ResolvedRequest) -> list[RequestWarning]:
    """What fitting has to say."""
    return list(provider().fit(resolved).warnings)


def polled(*names: str) -> Report:
    """What sample replies to the status and to the result mean."""
    adapter = provider()
    steps = adapter.poll(adapter.read(recorded("fal", "submitted")).task)
    next(steps)
    for name in names:
        try:
            steps.send(recorded("fal", name))
        except StopIteration as end:
            report: Report = end.value
            return report
    raise AssertionError("the conversation goes on")


@pytest.mark.parametrize("field", FIELDS_OF_UNION)
def test_every_field_of_the_union_page_is_sent(field: str) -> None:
    """What the caller asks for arrives under the vendor's own name."""
    asked, expected = FIELDS_OF_UNION[field]
    assert sent(request(**asked))[field] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("field", FIELDS_OF_CONTROL_LORA)
def test_every_field_of_the_control_lora_pages_is_sent(field: str) -> None:
    """The same for both models, which are named with or without the vendor's prefix."""
    asked, expected = FIELDS_OF_CONTROL_LORA[field]
    assert sent(request(**{"model": "flux-control-lora-canny", **asked}))[field] == expected  # type: ignore[arg-type]
    control = {"modality": "depth", **(asked.get("control") or {})}  # type: ignore[dict-item]
    assert sent(request(**{"model": DEPTH, **asked, "control": control}))[field] == expected  # type: ignore[arg-type]


def test_the_fields_are_those_of_the_pages() -> None:
    """A field that the adapter sends and the tables above do not know would go untested."""
    everything = {**START, "strength": 0.5, "steps": 20, "guidance": 3.0, "options": {"loras": LORAS}}
    assert set(sent(request(**MASK, negative_prompt="blurry", **everything))) <= set(FIELDS_OF_UNION)  # type: ignore[arg-type]
    assert set(sent(request(model=CANNY, **everything))) <= set(FIELDS_OF_CONTROL_LORA)  # type: ignore[arg-type]


def test_what_nobody_asked_for_is_left_to_the_vendor() -> None:
    """But the size, the strength of the control, for which a weight of 1 means the page's default, and our switches."""
    assert sent(request()) == {
        "prompt": "a house",
        "seed": 7,
        "num_images": 1,
        "image_size": {"width": 1024, "height": 768},
        "canny_image_url": LINK,
        "canny_preprocess": False,
        "controlnet_conditioning_scale": 0.5,
        "format": "png",
        "enable_safety_checker": True,
        "sync_mode": False,
        "loras": [],
    }


def test_the_model_is_the_path() -> None:
    """The union unless another one is named; one that is not known is refused, and so is what a model does not keep."""
    assert built(request()).url == f"https://queue.fal.run/{UNION}"
    assert built(request(model="FLUX-control-lora-canny")).url == f"https://queue.fal.run/{CANNY}"
    with pytest.raises(ControlNetError) as unknown:
        built(request(model="fal-ai/flux-pro"))
    with pytest.raises(ControlNetError) as lost:
        built(request({"modality": "pose"}, model=DEPTH))
    assert (unknown.value.code, lost.value.code) == ("invalid_request", "unsupported")
    assert UNION in unknown.value.hint
    assert UNION in lost.value.hint


@pytest.mark.parametrize(
    ("model", "changes", "end"),
    [
        (UNION, {}, ""),
        (UNION, START, "/image-to-image"),
        (UNION, {"init_image": PICTURE, "mask_image": PICTURE}, "/inpainting"),
        (CANNY, START, "/image-to-image"),
    ],
)
def test_start_picture_and_mask_choose_the_path(model: str, changes: dict[str, object], end: str) -> None:
    """FLUX takes no mask, and has no switch for its preprocessing beside a start picture."""
    assert built(request(model=model, **changes)).url == f"https://queue.fal.run/{model}{end}"  # type: ignore[arg-type]
    assert "preprocess_depth" not in sent(request(model=model, **changes))  # type: ignore[arg-type]
    with pytest.raises(ControlNetError, match="takes no mask") as caught:
        built(request(model=CANNY, **START, **MASK))  # type: ignore[arg-type]
    assert UNION in caught.value.hint


def test_pictures_go_inline_and_links_as_they_are() -> None:
    """As `data:` URIs; nothing is uploaded first, and a plain http link is read by us."""
    control: dict[str, object] = {"picture": PICTURE, "source_url": "http://pictures.example/map.png"}
    resolved = request(control, init_url=START_LINK, init_image=PICTURE)
    assert provider().uploads(resolved) == ()
    body = sent(resolved)
    assert str(body["canny_image_url"]).startswith("(data_url of image/png")
    assert body["image_url"] == START_LINK


@pytest.mark.parametrize("modality", FalProvider.capabilities.modalities)
def test_a_map_is_not_preprocessed_again(modality: str) -> None:
    """And a picture is; FLUX takes maps only, and so do lines that are taken for others."""
    name = next(key for key in sent(request({"modality": modality})) if key.endswith("_preprocess"))
    assert sent(request({"modality": modality}))[name] is False
    assert sent(request({"modality": modality, "is_map": False}))[name] is True
    near = [row.kind for row in notices(request({"modality": modality}))]
    assert near == ["approximate"] * (provider().takes(modality, None, {}) == "map")
    assert provider().takes("canny", CANNY, {}) == "map"


def test_controls_of_several_kinds_go_together() -> None:
    """A picture each; two for one field cannot."""
    kinds = ("canny", "pose", "depth", "normal", "seg", "softedge")
    controls = tuple(Control(modality=name, source_url=f"{LINK}?{name}") for name in kinds)
    body = sent(request(controls=controls))
    assert {str(body[key]).partition("?")[2] for key in body if key.endswith("_image_url")} == set(kinds)
    for pair in ((controls[0], Control(modality="lineart", source_url=LINK)), (controls[0], controls[0])):
        with pytest.raises(ControlNetError) as caught:
            built(request(controls=pair))
        assert caught.value.code == "unsupported"
    with pytest.raises(ControlNetError, match="takes 1 control"):
        built(request(model=CANNY, controls=(controls[0], controls[0])))


def test_one_strength_for_all_is_said() -> None:
    """That of the first control."""
    pair = tuple(
        Control(modality=name, source_url=LINK, weight=weight) for name, weight in (("canny", 0.6), ("pose", 0.9))
    )
    assert sent(request(controls=pair))["controlnet_conditioning_scale"] == 0.6
    assert [(row.kind, row.feature) for row in notices(request(controls=pair))] == [("adjusted", "weight")]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"steps": 80}, "num_inference_steps", 70),
        ({"steps": 80, "model": CANNY}, "num_inference_steps", 50),
        ({"guidance": 50.0}, "guidance_scale", 20.0),
        ({"guidance": 50.0, "model": CANNY}, "guidance_scale", 35.0),
        ({**START, "strength": 0.0, "model": CANNY}, "strength", 0.01),
        ({"control": {"weight": 1.8}}, "controlnet_conditioning_scale", 1.0),
    ],
)
def test_settings_stay_in_the_model_s_range(changes: dict[str, object], field: str, value: float) -> None:
    """And a change is told."""
    resolved = request(**changes)  # type: ignore[arg-type]
    assert sent(resolved)[field] == value
    assert [row.kind for row in notices(resolved)] == ["adjusted"]


def test_flux_has_no_negative_prompt() -> None:
    """Which is told."""
    resolved = request(model=CANNY, negative_prompt="blurry")
    assert "negative_prompt" not in sent(resolved)
    assert [(row.kind, row.feature) for row in notices(resolved)] == [("unsupported", "negative_prompt")]


@pytest.mark.parametrize("name", ["submitted", "submitted_bare", "submitted_elsewhere"])
def test_the_receipt_s_path_is_followed_on_the_configured_host(name: str) -> None:
    """Whatever host its links name: the key goes to the configured one only, as with huggingface_hub."""
    submission = provider().read(recorded("fal", name))
    assert submission.task == RemoteTask(remote_id=ID, state={"path": f"/{UNION}/requests/{ID}"})
    for base in ("https://queue.fal.run", "https://proxy.example/fal/"):
        adapter, task = provider(base), submission.task
        calls = (adapter.status_call(task), adapter.result_call(task), adapter.cancel_call(task))
        below = f"{base.rstrip('/')}/{UNION}/requests/{ID}"
        assert [(call.method, call.url) for call in calls] == [
            ("GET", f"{below}/status"),
            ("GET", below),
            ("PUT", f"{below}/cancel"),
        ]


@pytest.mark.parametrize(
    "link", ["", "https://queue.fal.run/", "https://[::1", "/a/b/../requests/x", "/a/b/requests/.."]
)
def test_a_receipt_without_a_usable_path_proves_nothing(link: str) -> None:
    """The request may have been accepted, so it is not bought again."""
    reply = recorded("fal", "submitted")
    broken = reply.body.replace(BELOW.encode() + b'"', link.encode() + b'"')
    with pytest.raises(ProviderError) as caught:
        provider().read(type(reply)("fal", 200, {}, broken))
    assert (caught.value.code, caught.value.delivery) == ("provider_failed", "unknown")


def test_every_status_is_understood() -> None:
    """A word of no list means running; the place in the queue counts who comes before."""
    assert (polled("queued").phase, polled("queued").queue_position) == ("queued", 2)
    assert polled("in_progress").phase == "running"
    assert (polled("unknown_status").phase, polled("unknown_status").stage) == ("running", "FAILED")
    assert provider().read(recorded("fal", "submitted")).report == Report(phase="queued", queue_position=0)


@pytest.mark.parametrize("names", FAILURES, ids=" ".join)
def test_every_way_to_fail_is_told(names: tuple[str, ...]) -> None:
    """The platform's in the status, a model's only in the result; each with a way out."""
    report = polled(*names)
    assert report.fault is not None
    assert report.fault.code == FAILURES[names]
    assert report.fault.hint
    assert report.phase == ("canceled" if report.fault.code == "canceled" else "failed")


@pytest.mark.parametrize(
    "name", ["error_401", "error_403_access", "error_429", "error_500", "error_502_ingress", "error_503"]
)
@pytest.mark.parametrize("before", [(), ("completed",)])
def test_an_error_that_is_not_about_the_request_ends_no_job(name: str, before: tuple[str, ...]) -> None:
    """It is raised, and the job layer asks again; also what came too early, or without a picture."""
    for last in (name, "result_early", "result_empty") if before else (name, "error_404_request", "error_504"):
        with pytest.raises(ProviderError):
            polled(*before, last)


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_told(name: str) -> None:
    """With a way out, and without a claim about delivery that the status does not prove."""
    with pytest.raises(ProviderError) as caught:
        provider().read(recorded("fal", name))
    assert (caught.value.code, caught.value.delivery) == ERRORS[name]
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "code", "way_out"),
    [
        ("error_403_balance", "payment_required", "fal.ai/dashboard/billing"),
        ("error_403_top_up", "payment_required", "fal.ai/dashboard/billing"),
        ("error_403_admin", "unauthorized", "support"),
    ],
)
def test_a_locked_account_is_told_by_its_reason(name: str, code: str, way_out: str) -> None:
    """An empty balance is a 403, too."""
    with pytest.raises(ProviderError) as caught:
        provider().read(recorded("fal", name))
    assert caught.value.code == code
    assert way_out in caught.value.hint


def test_a_model_s_objection_names_the_field_and_not_the_input() -> None:
    """The input is the caller's prompt or picture."""
    fault = polled("completed", "error_422_download").fault
    assert fault is not None
    assert "canny_image_url: Failed to download the file" in fault.message
    assert "pictures.example" not in fault.message


@pytest.mark.parametrize(
    ("name", "flags", "seed"), [("result", [False, True], 7), ("result_sparse", [False], 18446744073709551615)]
)
def test_the_safety_checker_is_heard_for_each_picture(name: str, flags: list[bool], seed: int) -> None:
    """One flag per picture; a missing one means nothing was found. The seed keeps every digit."""
    report = polled("completed", name)
    assert ([row.flagged for row in report.outputs], report.seed) == (flags, seed)
    assert all((row.url or "").startswith("https://v3.fal.media/") for row in report.outputs)


@pytest.mark.parametrize(
    ("name", "stopped"),
    [("cancel_requested", True), ("cancel_removed", True), ("cancel_too_late", False), ("cancel_unknown", False)],
)
def test_a_request_is_stopped_where_it_can_be(name: str, *, stopped: bool) -> None:
    """HTTP 400 and 404 mean that it cannot be stopped any more."""
    steps = provider().cancel(RemoteTask(remote_id=ID))
    assert next(steps).url == f"{BELOW}/cancel"
    with pytest.raises(StopIteration) as end:
        steps.send(recorded("fal", name))
    assert end.value.value is stopped
