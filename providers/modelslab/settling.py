"""Choices that depend on model, modality and plan together, made before anything is sent to ModelsLab."""

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.modelslab.catalogue import (
    CAPABILITIES,
    DEFAULT_MODEL,
    ENTERPRISE_ONLY,
    FLUX_BY_DEFAULT,
    FLUX_MODEL,
    is_flux,
)
from controlnet_mcp.providers.modelslab.limits import (
    Plan,
    Settling,
    fit_guidance,
    fit_pictures,
    fit_steps,
    fit_weight,
)
from controlnet_mcp.providers.modelslab.options import DEFAULT_SCHEDULER, ModelsLabOptions, scheduler_named
from controlnet_mcp.providers.types import Control, FittedRequest, ResolvedRequest


def settle(request: ResolvedRequest, plan: Plan) -> FittedRequest:
    """Choose model and scheduler, fit numbers into their ranges, and say what cannot be honoured.

    Raises:
        RequestError: `unsupported` or `invalid_request`, with what can be done instead in the hint.
    """
    work = Settling(request, plan, ModelsLabOptions.model_validate(request.options))
    for settle_part in _PARTS:
        settle_part(work)
    options = work.options.model_dump(mode="json")
    return FittedRequest(request=work.request.model_copy(update={"options": options}), warnings=tuple(work.notices))


def _inpainting(work: Settling) -> None:
    """The page: to inpaint, pass `mask_image` and use `inpaint` as the controlnet_model."""
    request = work.request
    asked = [control.modality for control in request.controls]
    if request.mask_image is None:
        if "inpaint" in asked:
            raise RequestError(
                "invalid_request",
                "The modality inpaint repaints the white part of mask_image, but no mask_image is given.",
                hint="Give init_image and mask_image, or use another modality, such as tile.",
            )
        return
    if "inpaint" in asked or work.options.controlnet_model:
        return
    whole = Control(
        modality="inpaint",
        picture=request.init_image,
        source_url=request.init_url,
        weight=request.controls[0].weight,
    )
    work.change(controls=(whole,))
    names = " and ".join(asked)
    work.say(
        "adjusted",
        "modality",
        f"ModelsLab inpaints with its inpaint control only, so {names} is not kept; modality=inpaint,{asked[0]} asks "
        "for both (not documented together with a mask).",
    )


def _model(work: Settling) -> None:
    if work.request.model:
        return
    flux = next((row.modality for row in work.request.controls if row.modality in FLUX_BY_DEFAULT), None)
    if flux and not work.options.controlnet_model:
        work.change(model=FLUX_MODEL)
        work.say("assumed", "model", f"{FLUX_MODEL} is used, because ModelsLab lists {flux} for it.")
    else:
        work.change(model=DEFAULT_MODEL)


def _check_family(work: Settling) -> None:
    request, own = work.request, work.options.controlnet_model
    flux = is_flux(request.model)
    if flux and (len(request.controls) > 1 or "," in (own or "")):
        raise RequestError(
            "unsupported",
            f"ModelsLab takes one control with {request.model}.",
            hint=f"Name one modality, or another model such as {DEFAULT_MODEL} for several.",
        )
    if own:
        return
    family = "flux" if flux else "sd15"
    can = {name for name, row in CAPABILITIES.modalities.items() if family in row.families}
    if work.plan == "community":
        can -= ENTERPRISE_ONLY
    lost = [row.modality for row in request.controls if row.modality not in can]
    if lost:
        raise RequestError(
            "unsupported",
            f"ModelsLab ({work.plan}) has no {' or '.join(lost)} with the model {request.model}.",
            hint=f"With it: {', '.join(sorted(can))}. {FLUX_MODEL} has gray and low-quality, other models the rest.",
        )


def _scheduler(work: Settling) -> None:
    chosen = scheduler_named(work.request.scheduler or DEFAULT_SCHEDULER)
    work.options = chosen.settled(work.options)
    work.change(scheduler=chosen.name)
    if work.options.algorithm_type != "none" and chosen.name != "DPMSolverMultistepScheduler":
        detail = f"algorithm_type is for DPMSolverMultistepScheduler; {chosen.name} does not use it."
        work.say("unsupported", "algorithm_type", detail)


def _adapter(work: Settling) -> None:
    told = work.options.model_dump(include={"ip_adapter_id", "ip_adapter_scale", "ip_adapter_image"}, exclude_none=True)
    if told and work.plan == "enterprise":
        work.options = work.options.model_copy(update=dict.fromkeys(told))
        work.say("unsupported", "ip_adapter", "ModelsLab has its IP adapter on the community plan only.")


def _hint(work: Settling) -> None:
    """With two pictures the vendor does not say which one its preprocessor reads."""
    first, request = work.request.controls[0], work.request
    preprocessed = not first.is_map and CAPABILITIES.modalities[first.modality].takes == "either"
    if preprocessed and request.init_image is not None and request.init_image != first.picture:
        detail = (
            "ModelsLab does not say whether it preprocesses control_image or init_image when both are given; "
            "extract_control_map and control_is_map=true leave no doubt."
        )
        work.say("assumed", "control_image", detail)


_PARTS = (
    _inpainting,
    _model,
    _check_family,
    _scheduler,
    fit_weight,
    fit_guidance,
    fit_steps,
    _adapter,
    fit_pictures,
    _hint,
)
"""In this order: the model depends on the controls, the rest on the model."""
