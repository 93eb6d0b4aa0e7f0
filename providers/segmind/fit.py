"""Fitting a request to one of Segmind's models before anything is sent: what is adjusted or left out is told."""

import re
from collections.abc import Iterator

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.providers.segmind.models import Form, Model, Span, find, keepers
from controlnet_mcp.providers.segmind.options import GATEWAY_OPTIONS, SegmindOptions
from controlnet_mcp.providers.types import FittedRequest, RequestWarning, ResolvedRequest

_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def fit(request: ResolvedRequest) -> FittedRequest:
    """Choose the model by the modality when none is named, and keep every setting inside what it takes.

    Raises:
        RequestError: `unsupported` when the named model keeps another structure or does not know the scheduler,
            `invalid_request` when the name cannot be a model's.
    """
    model = _choose(request)
    form = model.form
    scheduler = _scheduler(request.scheduler, form, model.slug)
    options = SegmindOptions.model_validate(request.options).model_dump(mode="json", exclude_none=True)
    taken = form.options | GATEWAY_OPTIONS
    settled = request.model_copy(
        update={
            "model": model.slug,
            "steps": None if request.steps is None else round(form.steps.fit(request.steps)),
            "guidance": None if request.guidance is None else form.guidance.fit(request.guidance),
            "num_images": request.num_images if form.count else 1,
            "negative_prompt": request.negative_prompt if form.negative_prompt else None,
            "scheduler": scheduler,
            "options": {name: value for name, value in options.items() if name in taken},
        }
    )
    lost = sorted(options.keys() - taken)
    return FittedRequest(request=settled, warnings=(*_told(request, settled, model), *_lost(lost, model.slug)))


def strength(request: ResolvedRequest, form: Form) -> float | None:
    """The conditioning scale that is sent: a weight of 1 means the model's usual one, any other is taken literally."""
    if form.weight is None:
        return None
    exact = SegmindOptions.model_validate(request.options).control_strength
    weight = request.controls[0].weight
    if exact is not None:
        return form.weight.fit(exact)
    return form.usual_weight if weight == 1 else form.weight.fit(weight)


def _choose(request: ResolvedRequest) -> Model:
    modality = request.controls[0].modality
    if request.model is not None and not _SLUG.fullmatch(request.model):
        raise RequestError(
            "invalid_request",
            f"{request.model[:60]!r} cannot be the name of a Segmind model.",
            hint=f"Use a name such as {keepers(modality)[0].slug} (list_models), or leave model out.",
        )
    model = find(request.model, modality)
    if modality not in model.keeps:
        raise RequestError(
            "unsupported",
            f"Segmind's {model.slug} keeps {' or '.join(model.keeps)}, not {modality}.",
            hint=f"For {modality}: {', '.join(other.slug for other in keepers(modality))}; or leave model out.",
        )
    return model


def _scheduler(name: str | None, form: Form, slug: str) -> str | None:
    if name is None or form.schedulers is None:
        return None
    if not form.schedulers:
        return name
    match = next((known for known in form.schedulers if known.lower() == name.strip().lower()), None)
    if match is None:
        raise RequestError(
            "unsupported",
            f"Segmind's {slug} has no scheduler {name[:40]!r}.",
            hint=f"It has: {', '.join(form.schedulers)}.",
        )
    return match


def _told(asked: ResolvedRequest, settled: ResolvedRequest, model: Model) -> Iterator[RequestWarning]:
    """What the caller should know of the difference between what was asked for and what is sent."""
    form, slug = model.form, model.slug
    if not model.family:
        detail = f"{slug} is not among the models known here, so the fields of Segmind's SD3 models are sent to it."
        yield RequestWarning(kind="assumed", feature="model", detail=detail)
    if asked.steps != settled.steps:
        yield _adjusted("steps", slug, form.steps, settled.steps)
    if asked.guidance != settled.guidance:
        yield _adjusted("guidance", slug, form.guidance, settled.guidance)
    if asked.num_images != settled.num_images:
        detail = f"{slug} draws one picture at a time; {asked.num_images} were asked for."
        yield RequestWarning(kind="adjusted", feature="num_images", detail=detail)
    if asked.negative_prompt and settled.negative_prompt is None:
        yield _left_out("negative_prompt", slug)
    if asked.scheduler and settled.scheduler is None:
        yield _left_out("scheduler", slug)
    yield from _told_of_weight(asked, settled, model)
    yield from _told_of_picture(asked, model)


def _told_of_weight(asked: ResolvedRequest, settled: ResolvedRequest, model: Model) -> Iterator[RequestWarning]:
    exact, weight = settled.options.get("control_strength"), asked.controls[0].weight
    if exact is None and weight == 1:
        return
    feature, value = ("weight", weight) if exact is None else ("provider_options.control_strength", exact)
    sent = strength(settled, model.form)
    if model.form.weight is None:
        yield _left_out(feature, model.slug)
    elif value != sent:
        yield _adjusted(feature, model.slug, model.form.weight, sent)


def _told_of_picture(asked: ResolvedRequest, model: Model) -> Iterator[RequestWarning]:
    control = asked.controls[0]
    if control.is_map:
        detail = f"Segmind has no switch for preprocessing: {model.slug} may prepare this ready map once more."
        yield RequestWarning(kind="approximate", feature="control_is_map", detail=detail)
    picture = control.picture
    if picture and not model.form.sized and (picture.width, picture.height) != (asked.width, asked.height):
        size = f"{picture.width}x{picture.height}"
        detail = f"{model.slug} takes no size: its pictures follow the control picture, which has {size}."
        yield RequestWarning(kind="adjusted", feature="width and height", detail=detail)


def _lost(names: list[str], slug: str) -> Iterator[RequestWarning]:
    return (_left_out(f"provider_options.{name}", slug) for name in names)


def _left_out(feature: str, slug: str) -> RequestWarning:
    return RequestWarning(kind="unsupported", feature=feature, detail=f"{slug} has no {feature}; it was left out.")


def _adjusted(feature: str, slug: str, span: Span, value: float | None) -> RequestWarning:
    detail = f"{slug} takes {span.wire} from {span.least:g} to {span.most:g}; {value:g} is sent."
    return RequestWarning(kind="adjusted", feature=feature, detail=detail)
