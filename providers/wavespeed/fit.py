"""Fitting a request to one of WaveSpeed's models before anything is sent: what is adjusted or left out is told."""

from collections.abc import Iterator

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.http import Body
from controlnet_mcp.providers.types import Control, FittedRequest, RequestWarning, ResolvedRequest
from controlnet_mcp.providers.wavespeed.models import ADVICE, MODELS, STEPS, UNION, Model, find, keepers
from controlnet_mcp.providers.wavespeed.options import WaveSpeedOptions

SEEDS = 9_999_999_999
"""Largest seed; the vendor's own nodes reduce larger ones modulo this number. -1 is random."""


def fit(request: ResolvedRequest) -> FittedRequest:
    """Choose the model by the modality when none is named, and keep every setting inside what it takes.

    Raises:
        RequestError: `unsupported` when the named model keeps another structure, `invalid_request` when it is none of
            the ControlNet models.
    """
    model = choose(request)
    steps, guidance = request.steps, request.guidance
    options = {name: value for name, value in request.options.items() if name not in _foreign(model)}
    settled = request.model_copy(
        update={
            "model": model.name,
            "steps": None if steps is None else round(_inside(steps, STEPS)),
            "guidance": None if guidance is None else _inside(guidance, model.form.guidance),
            "seed": request.seed if -1 <= request.seed <= SEEDS else request.seed % SEEDS,
            "options": options,
        }
    )
    return FittedRequest(request=settled, warnings=tuple(_told(request, settled, model)))


def choose(request: ResolvedRequest) -> Model:
    """The model that a request is for.

    Raises:
        RequestError: `unsupported` when it keeps another structure, `invalid_request` when it is not known.
    """
    modality = request.controls[0].modality
    model = find(request.model, modality)
    if model is None:
        raise RequestError(
            "invalid_request",
            f"{(request.model or '')[:80]!r} is not one of WaveSpeed's ControlNet models.",
            hint=f"Use {', '.join(known.name for known in MODELS)}, or leave model out.",
        )
    if modality not in model.keeps:
        raise RequestError(
            "unsupported",
            f"WaveSpeed's {model.name} keeps {' or '.join(model.keeps)}, not {modality}.",
            hint=f"For {modality}: {', '.join(other.name for other in keepers(modality))}; or leave model out.",
        )
    return model


def control_fields(control: Control, model: Model, options: WaveSpeedOptions) -> dict[str, Body]:
    """How strongly and how long the control acts; options are exact.

    Union Pro: a weight of 1 and an end of 1, which nobody has to ask for, mean what the vendor advises.
    """
    form, weight = model.form, control.weight
    if form is not UNION:
        return {form.scale: weight}
    advice = ADVICE[control.modality]
    usual = (advice.scale if weight == 1 else weight, control.start, advice.end if control.end == 1 else control.end)
    exact = (options.controlnet_conditioning_scale, options.control_guidance_start, options.control_guidance_end)
    names = (form.scale, "control_guidance_start", "control_guidance_end")
    return {name: said if given is None else given for name, given, said in zip(names, exact, usual, strict=True)}


def _foreign(model: Model) -> frozenset[str]:
    """The options that this model does not have."""
    return UNION.options - model.form.options


def _inside(value: float, span: tuple[float, float]) -> float:
    return min(max(value, span[0]), span[1])


def _told(asked: ResolvedRequest, settled: ResolvedRequest, model: Model) -> Iterator[RequestWarning]:
    """What the caller should know of the difference between what was asked for and what is sent."""
    control, name = asked.controls[0], model.name
    if not model.known:
        detail = f"{name} is not among the models known here; it gets the fields of WaveSpeed's {model.form.family}."
        yield RequestWarning(kind="assumed", feature="model", detail=detail)
    if model.form is UNION and not ADVICE[control.modality].trained:
        detail = f"{name} was not trained on {control.modality}; its lines are taken for edges."
        yield RequestWarning(kind="approximate", feature=control.modality, detail=detail)
    if asked.steps != settled.steps:
        yield _adjusted("steps", f"{name} takes {STEPS[0]} to {STEPS[1]} steps; {settled.steps} are sent.")
    if asked.guidance is not None and asked.guidance != settled.guidance:
        least, most = model.form.guidance
        yield _adjusted("guidance", f"{name} takes {least:g} to {most:g}; {settled.guidance:g} is sent.")
    if asked.seed != settled.seed:
        yield _adjusted("seed", f"WaveSpeed's seeds end at {SEEDS}; {settled.seed} is sent.")
    if not model.form.ranged and (control.start, control.end) != (0, 1):
        yield _left_out("start and end", name)
    lost = (key for key in sorted(_foreign(model)) if asked.options.get(key) is not None)
    yield from (_left_out(f"provider_options.{key}", name) for key in lost)


def _adjusted(feature: str, detail: str) -> RequestWarning:
    return RequestWarning(kind="adjusted", feature=feature, detail=detail)


def _left_out(feature: str, name: str) -> RequestWarning:
    return RequestWarning(kind="unsupported", feature=feature, detail=f"{name} has no {feature}; it was left out.")
