"""Models of a hosted service as data, and the one way to fit a request to one of them before anything is sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controlnet_mcp.foundation.errors import ErrorCode, RequestError
from controlnet_mcp.images.resize import fit_size
from controlnet_mcp.providers.http import Body
from controlnet_mcp.providers.types import (
    Capabilities,
    ModelInfo,
    RequestWarning,
    ResolvedRequest,
    Support,
    Takes,
    WarningKind,
)

FIELDS = {"prompt": "prompt", "seed": "seed", "steps": "num_inference_steps", "guidance": "guidance_scale"}
"""Names of the diffusers library, which most vendors have taken over."""
_OPTIONAL = ("negative_prompt", "strength", "steps", "guidance", "scheduler")
"""Settings that some models of a service have and others do not."""
_OF_THE_CONTROL = ("weight", "start", "end")


@dataclass(frozen=True, slots=True)
class Range:
    """Least and most of a number; `default` is sent when nobody asked for one, `None` leaves it to the vendor."""

    least: float
    most: float
    default: float | None = None

    def clamp(self, value: float) -> float:
        """The nearest allowed value."""
        return min(max(value, self.least), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model, or a family of models with the same fields.

    Attributes:
        name: The vendor's name; it may also be asked for without what stands before its slash.
        family: What it is built on.
        label: Its name in sentences, where that is another one.
        keeps: Canonical modality to the vendor's word for it; the first model that keeps one is its default.
        fields: Field of a request (weight, start and end: of its first control) to the vendor's name. A setting that
            has no name here is left out, and said.
        ranges: Numbers by the field of the request. The default of a weight is what a weight of 1 means.
        weighted: Whether a control has a weight.
        max_controls: Most controls at once.
        sides: Least and most pixels of a side, where they differ from the provider's.
        sized: Whether a size can be chosen; elsewhere the result follows the control picture.
        detects: Whether the service makes the map of a plain picture itself.
        schedulers: The names of the vendor's list; with none, any name is passed on.
        options: Those of the `provider_options` that not every model has and this one does.
        known: Whether its page is known here; otherwise it is sent the fields of one that is.
    """

    name: str = ""
    family: str = ""
    label: str = ""
    keeps: Mapping[str, str] = field(default_factory=dict[str, str])
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    ranges: Mapping[str, Range] = field(default_factory=dict[str, Range])
    weighted: bool = True
    max_controls: int = 1
    sides: tuple[int, int] | None = None
    sized: bool = True
    detects: bool = True
    schedulers: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    known: bool = True

    @property
    def said(self) -> str:
        """Its name in sentences."""
        return self.label or self.name


def supports(specs: Sequence[ModelSpec], takes: Takes, names: Iterable[str] = ()) -> dict[str, Support]:
    """The modalities that models keep, each under the word of its default model; `names` give another order."""
    names = names or dict.fromkeys(name for spec in specs for name in spec.keeps)
    return {
        name: Support(
            native=next(spec.keeps[name] for spec in specs if name in spec.keeps),
            takes=takes,
            families=tuple(dict.fromkeys(spec.family for spec in specs if name in spec.keeps)),
        )
        for name in names
    }


def model_infos(specs: Sequence[ModelSpec]) -> tuple[ModelInfo, ...]:
    """The models as `list_models` shows them."""
    return tuple(ModelInfo(spec.name, spec.family, f"keeps {', '.join(spec.keeps)}") for spec in specs)


def find_model(name: str, specs: Sequence[ModelSpec]) -> ModelSpec | None:
    """The model of a name, in any case and with or without the vendor's prefix."""
    wanted = name.strip().lower()
    return next((spec for spec in specs if wanted in {spec.name, spec.name.rpartition("/")[2]}), None)


def choose_model(
    name: str | None,
    modalities: Sequence[str],
    specs: Sequence[ModelSpec],
    title: str,
    unlisted: Callable[[str, str], ModelSpec | None],
) -> ModelSpec:
    """The model of a name, or the first that keeps everything that is asked for.

    `unlisted` gives the model of a name that is in no list, for the first modality.

    Raises:
        RequestError: `unsupported` when the model does not keep that, `invalid_request` when there is none of the name.
    """
    able = [spec for spec in specs if not obstacle(spec, modalities)]
    if name is None and able:
        return able[0]
    found = specs[0] if name is None else find_model(name, specs) or unlisted(name.strip(), modalities[0])
    others = f"use {', '.join(spec.said for spec in able)}, or leave model out" if able else "leave some of them out"
    if found is None:
        raise RequestError(
            "invalid_request", f"{title} has no ControlNet model {(name or '')[:80]!r}.", hint=f"Instead, {others}."
        )
    why = obstacle(found, modalities)
    if why:
        wanted = ", ".join(modalities)
        raise RequestError("unsupported", f"{title}'s {found.said} {why}.", hint=f"For {wanted}: {others}.")
    return found


def obstacle(spec: ModelSpec, modalities: Sequence[str]) -> str:
    """The reason why a model cannot keep all of these at once; empty when it can."""
    lost = [name for name in modalities if name not in spec.keeps]
    if lost:
        return f"keeps {', '.join(spec.keeps)}, not {' and '.join(lost)}"
    return "" if len(modalities) <= spec.max_controls else f"takes {spec.max_controls} control at once"


@dataclass(slots=True)
class Fitting:
    """A request on its way to its model, and what has to be said of it."""

    request: ResolvedRequest
    model: str
    warnings: list[RequestWarning] = field(default_factory=list[RequestWarning])

    def warn(self, kind: WarningKind, feature: str, detail: str, **changes: object) -> None:
        """Say something, and change fields of the request."""
        self.warnings.append(RequestWarning(kind=kind, feature=feature, detail=detail))
        self.change(**changes)

    def change(self, **changes: object) -> None:
        """Change fields of the request."""
        self.request = self.request.model_copy(update=changes)

    def drop(self, feature: str, **changes: object) -> None:
        """Leave something out."""
        self.warn("unsupported", feature, f"{self.model} has no {feature}; it was left out.", **changes)

    def clamp(self, feature: str, asked: float, span: Range) -> float:
        """Bring a number into its range."""
        used = span.clamp(asked)
        if used != asked:
            limits = f"{self.model} takes {feature} from {span.least:g} to {span.most:g}"
            self.warn("adjusted", feature, f"{limits}; {used:g} is sent.")
        return used


def fit(
    request: ResolvedRequest, spec: ModelSpec, specs: Sequence[ModelSpec], can: Capabilities, title: str
) -> Fitting:
    """Keep every setting of a request inside what its model takes, and say what is changed or left out.

    An option that only others of `specs` have is left out, too.

    Raises:
        RequestError: `unsupported` for a scheduler that the model does not have.
    """
    work = Fitting(request, spec.said or title)
    work.change(model=spec.name)
    if not spec.known:
        siblings = f"{title}'s {spec.family}"
        work.warn(
            "assumed", "model", f"{spec.name} is not among the known models; it is sent the fields of {siblings}."
        )
    for name in _OPTIONAL:
        value = getattr(request, name)
        if name not in spec.fields:
            if value not in {None, ""}:
                work.drop(name, **{name: None})
        elif value is not None and name in spec.ranges:
            used = work.clamp(name, value, spec.ranges[name])
            work.change(**{name: round(used) if name == "steps" else used})
        elif value is not None and name == "scheduler" and spec.schedulers:
            work.change(scheduler=scheduler_named(value, spec))
    if "num_images" not in spec.fields and request.num_images > 1:
        work.warn("adjusted", "num_images", f"{spec.said} draws one picture at a time.", num_images=1)
    _fit_control(work, spec, can)
    _fit_size(work, spec)
    foreign = frozenset[str]().union(*(other.options for other in specs)) - spec.options
    for name in sorted(foreign):
        if work.request.options.get(name) is not None:
            rest = {key: value for key, value in work.request.options.items() if key != name}
            work.drop(f"provider_options.{name}", options=rest)
    return work


def scheduler_named(name: str, spec: ModelSpec, code: ErrorCode = "unsupported") -> str:
    """The vendor's name of a scheduler: in any case, with or without the ending `Scheduler`.

    Raises:
        RequestError: With `code`, for any other name.
    """
    wanted = name.strip().lower().removesuffix("scheduler").rstrip()
    found = next((row for row in spec.schedulers if row.lower().removesuffix("scheduler") == wanted), None)
    if found is None:
        raise RequestError(
            code, f"{spec.said} has no scheduler {name[:40]!r}.", hint=f"It has: {', '.join(spec.schedulers)}."
        )
    return found


def _fit_control(work: Fitting, spec: ModelSpec, can: Capabilities) -> None:
    first, *others = work.request.controls
    if "weight" in spec.fields:
        if any(other.weight != first.weight for other in others):
            detail = (
                f"{spec.said} has one weight for all controls; that of {first.modality}, {first.weight:g}, is sent."
            )
            work.warn("adjusted", "weight", detail)
        if "weight" in spec.ranges:
            work.clamp("weight", first.weight, spec.ranges["weight"])
    elif first.weight != 1 and not spec.weighted:
        work.drop("weight")
    if can.control_range and "start" not in spec.fields and (first.start, first.end) != (0, 1):
        work.drop("start and end")


def _fit_size(work: Fitting, spec: ModelSpec) -> None:
    width, height = work.request.width, work.request.height
    if not spec.sized:
        picture = work.request.controls[0].picture
        if picture and (picture.width, picture.height) != (width, height):
            follows = f"{picture.width}x{picture.height}"
            detail = f"{spec.said} takes no size: its pictures follow the control picture, which has {follows}."
            work.warn("adjusted", "width and height", detail)
    elif spec.sides:
        least, most = spec.sides
        fitted = fit_size(width, height, minimum=least, maximum=most, multiple=8)
        if fitted != (width, height):
            limits = f"{spec.said} draws {least} to {most} pixels a side"
            detail = f"{limits}; {width}x{height} became {fitted[0]}x{fitted[1]}."
            work.warn("adjusted", "width and height", detail, width=fitted[0], height=fitted[1])


def named_fields(request: ResolvedRequest, spec: ModelSpec) -> dict[str, Body]:
    """The settings of a request under the vendor's names; what nobody asked for is left to the vendor's defaults."""
    first = request.controls[0]
    values: dict[str, Body] = {}
    for name, wire in spec.fields.items():
        value = getattr(first if name in _OF_THE_CONTROL else request, name)
        span = spec.ranges.get(name)
        if span and (value is None or (name == "weight" and value == 1)):
            value = span.default if span.default is not None else value
        elif span and name in _OF_THE_CONTROL:
            value = span.clamp(value)
        values[wire] = value
    return present(values)


def present(fields: Mapping[str, Body]) -> dict[str, Body]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
