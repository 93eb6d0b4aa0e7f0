"""What Scenario's model families do not accept: refused, adjusted or left out, and said so, before anything is sent."""

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.resize import fit_size
from controlnet_mcp.providers.scenario.controls import settle_controls
from controlnet_mcp.providers.scenario.families import DEFAULT_MODEL, scheduler_named
from controlnet_mcp.providers.scenario.options import ScenarioOptions
from controlnet_mcp.providers.scenario.settling import Settling, chosen_family
from controlnet_mcp.providers.types import FittedRequest, ResolvedRequest

MOST_STEPS = 150
LEAST_STRENGTH = 0.01
USUAL_NEGATIVE_STRENGTH = 0.5
"""Ours: the vendor wants one above 0 and names no usual value."""


def settle(request: ResolvedRequest) -> FittedRequest:
    """Choose what depends on the family of the model.

    Raises:
        RequestError: `unsupported` when the family cannot do it at all, `invalid_request` for values without meaning.
    """
    options = ScenarioOptions.model_validate(request.options)
    settling = Settling(request, options, chosen_family(request.model, options))
    _model(settling)
    _operation(settling)
    settle_controls(settling)
    _size(settling)
    _numbers(settling)
    _scheduler(settling)
    _negative_prompt(settling)
    settling.change(options=settling.options.model_dump(mode="json"))
    return FittedRequest(request=settling.request, warnings=tuple(settling.notices))


def _model(settling: Settling) -> None:
    if settling.request.model is None:
        settling.assumed("model", f"Scenario needs a model; {DEFAULT_MODEL} was taken.")
        settling.change(model=DEFAULT_MODEL)
    elif settling.family is None:
        detail = (
            f"The id {settling.request.model[:60]} does not tell the model's family, so its limits were not checked; "
            "say it with provider_options.family."
        )
        settling.assumed("model", detail)
    elif settling.family == "flux-pro":
        settling.assumed("model", "Scenario names modalities for Flux dev and schnell only; Flux pro may refuse them.")


def _operation(settling: Settling) -> None:
    """There is one endpoint for each of these, and none for two at once."""
    options, request = settling.options, settling.request
    wanted = [
        name
        for name, present in (
            ("init_image", request.init_image is not None),
            ("provider_options.ip_adapter_image_ids", bool(options.ip_adapter_image_ids)),
            ("provider_options.seamless", options.seamless),
        )
        if present
    ]
    if len(wanted) > 1:
        raise RequestError(
            "unsupported",
            f"Scenario cannot combine {' and '.join(wanted)} with a control.",
            hint="Leave one of them out.",
        )
    scales = options.ip_adapter_scales
    if scales and len(scales) != len(options.ip_adapter_image_ids or ()):
        raise RequestError(
            "invalid_request",
            "provider_options.ip_adapter_scales needs one number for each of ip_adapter_image_ids.",
            hint="Give as many scales as asset ids, or none for the usual 0.9.",
        )


def _size(settling: Settling) -> None:
    width, height = settling.request.width, settling.request.height
    least, most = settling.rules.sides
    fitted = fit_size(width, height, minimum=least, maximum=most, multiple=8)
    if fitted != (width, height):
        limits = f"{settling.rules.label} draws {least} to {most} pixels a side"
        settling.adjusted("width and height", f"{limits}; {width}x{height} became {fitted[0]}x{fitted[1]}.")
        settling.change(width=fitted[0], height=fitted[1])


def _numbers(settling: Settling) -> None:
    request = settling.request
    if settling.rules.guidance is not None:
        least, most, usual = settling.rules.guidance
        settling.change(guidance=usual if request.guidance is None else _within(settling, "guidance", least, most))
    if request.steps is not None:
        settling.change(steps=int(_within(settling, "steps", 1, MOST_STEPS)))
    if request.strength is not None:
        settling.change(strength=_within(settling, "strength", LEAST_STRENGTH, 1))


def _within(settling: Settling, name: str, least: float, most: float) -> float:
    asked = float(getattr(settling.request, name))
    used = min(max(asked, least), most)
    if used != asked:
        settling.adjusted(name, f"{settling.rules.label} takes {name} from {least:g} to {most:g}; {used:g} is used.")
    return used


def _scheduler(settling: Settling) -> None:
    if settling.request.scheduler is None:
        return
    name = scheduler_named(settling.request.scheduler)
    if not settling.rules.schedules:
        settling.left_out(
            "scheduler", f"{settling.rules.label} on Scenario has no choice of scheduler; it was left out."
        )
    settling.change(scheduler=name if settling.rules.schedules else None)


def _negative_prompt(settling: Settling) -> None:
    request, options, rules = settling.request, settling.options, settling.rules
    if not request.negative_prompt:
        return
    elsewhere = request.mask_image is not None or bool(options.ip_adapter_image_ids)
    if rules.negates == "never" or (rules.negates == "with strength" and elsewhere):
        where = " for inpainting and IP-adapters" if rules.negates == "with strength" else ""
        settling.left_out(
            "negative_prompt", f"{rules.label} on Scenario has no negative prompt{where}; it was left out."
        )
        settling.change(negative_prompt=None)
    elif request.guidance is not None and request.guidance < 1:
        settling.left_out("negative_prompt", "Scenario ignores the negative prompt when guidance is below 1.")
    elif rules.negates == "with strength" and not options.negative_prompt_strength:
        strength = USUAL_NEGATIVE_STRENGTH
        settling.options = options.model_copy(update={"negative_prompt_strength": strength})
        detail = f"On {rules.label} it needs provider_options.negative_prompt_strength; {strength:g} was taken."
        settling.assumed("negative_prompt", detail)
