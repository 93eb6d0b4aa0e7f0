"""A request as the caller makes it: typed and bounded, its modalities read, its pictures not looked at yet."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, JsonValue, StringConstraints
from pydantic_core import PydanticCustomError

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.modalities import MODALITIES, Modality, is_own_name, read_name
from controlnet_mcp.images.picture import Use
from controlnet_mcp.images.references import plain_text
from controlnet_mcp.providers.types import Frozen, RequestWarning

MAX_WEIGHT = 2.0
CONTROL, START, MASK = "control_image", "init_image", "mask_image"
"""Names of input pictures, which are those of the request's fields."""
PICTURES = frozenset({CONTROL, START, MASK, "extra_controls"})
"""The fields of a request that name pictures."""
REMOVABLE = frozenset({START, MASK, "negative_prompt", "model", "scheduler"})
"""Settings that an empty text takes out; a start image with all that means nothing without it."""


def extra_name(index: int) -> str:
    """The name of the picture of a further control, counted from 0."""
    return f"extra_control_{index}"


@dataclass(frozen=True, slots=True)
class RequestedModality:
    """One modality that was asked for, with its conditioning scale (0 to 2).

    Attributes:
        word: The detector or alias by which it was asked for, as in `NamedModality`.
        read_from: The name that was given, where it only contains a word for the modality.
    """

    modality: Modality
    weight: float
    word: str = ""
    read_from: str = ""

    @property
    def use(self) -> Use:
        """The use of its picture: as depth where it is about that."""
        return "depth" if self.modality.structure in {"depth", "normal"} else "picture"


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)\s*%?"
_WEIGHTED = re.compile(
    rf"(?P<name>.+?)\s*(?:[(\[{{]\s*(?:(?:weight|strength|scale|w)\s*[:=]?)?\s*(?P<inside>{_NUMBER})\s*[)\]}}]"
    rf"|\s(?:weight|strength|scale|w)\s*[:=]?\s*(?P<after>{_NUMBER})"
    r"|[:=@*\u00d7]\s*(?P<sign>.*)"
    rf"|(?:\s|[-~_>][>]?(?=\d*\.\d))(?P<space>{_NUMBER}))",
    re.DOTALL | re.IGNORECASE,
)
"""A modality and its weight: `canny:0.5`, `canny=0.5`, `canny (0.5)`, `canny weight 0.5`, `canny 0.5`, `canny-0.5`."""
_WEIGHT_FIRST = re.compile(r"(\d*\.\d+)[\s:*\u00d7]+(\D.*)", re.DOTALL)
_LABEL = re.compile(
    r"^(?:control[\s_-]?(?:net|type)|type|modality|preprocessor|module|model|name)\s*[:=]\s*", re.IGNORECASE
)
_AND = re.compile(r"\s*[+&和与及]\s*|\s+and\s+", re.IGNORECASE)
_NAME_KEYS = ("modality", "name", "type", "control_type", "preprocessor", "module", "model")
_WEIGHT_KEYS = ("weight", "strength", "scale")
_MOST_CHARACTERS = 2000


def parse_modalities(text: str) -> tuple[RequestedModality, ...]:
    """Read `canny`, `pose:0.5` or `canny:0.6,depth:0.4`, in the many forms in which lists and weights are written.

    Raises:
        RequestError: `invalid_request` for an unknown name, a weight that is no number from 0 to 2, an empty part or
            a name that is given twice.
    """
    if len(text) > _MOST_CHARACTERS:
        told = f"modality has {len(text)} characters, which is no list of modalities."
        raise RequestError("invalid_request", told, hint=f"Known: {', '.join(MODALITIES)}.")
    asked = [_parse_part(part) for part in _parts(unicodedata.normalize("NFKC", text)) or [""]]
    names = [row.modality.name for row in asked]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise RequestError("invalid_request", f"The modality {twice!r} is given twice.", hint="Name each one once.")
    return tuple(asked)


def _parts(text: str) -> list[str]:
    """The parts of a list that is JSON or has commas, semicolons, bars or lines between its parts."""
    text = text.strip()
    if text[:1] in {"[", "{", '"'}:
        with suppress(ValueError, RecursionError):
            return _parts_of_json(json.loads(text))
    if text.startswith("[") and text.endswith("]"):  # as Python writes lists
        text = text[1:-1]
    parts: list[str] = []
    for part in re.split(r"[,;、|\n]", re.sub(r"([:=(]\s*\d+),(\d+)", r"\1.\2", text)):
        several = _AND.split(part)
        try:
            for name in several:
                _parse_part(name)
        except RequestError:  # not all of them are modalities: the word belongs to a name
            several = [part]
        parts += several
    return parts


def _parts_of_json(value: JsonValue) -> list[str]:
    match value:
        case str():
            return _parts(value)
        case list():
            return [part for row in value for part in _parts_of_json(row)]
        case dict() if name := next((value[key] for key in _NAME_KEYS if value.get(key)), None):
            weight = next((value[key] for key in _WEIGHT_KEYS if value.get(key) is not None), None)
            return [part if weight is None else f"{part}:{weight}" for part in _parts_of_json(name)]
        case dict():
            return [key if weight is None or weight is True else f"{key}:{weight}" for key, weight in value.items()]
        case _:
            return [str(value)]


def _parse_part(part: str) -> RequestedModality:
    """Read one modality with its weight."""
    part = part.strip(" \t\r\n\"'`*<>")
    if part.startswith("(") and part.endswith(")"):
        part = part[1:-1]
    part = _LABEL.sub("", part, count=1)
    part = _WEIGHT_FIRST.sub(r"\2:\1", part) if _WEIGHT_FIRST.fullmatch(part) else part
    found = _WEIGHTED.fullmatch(part)
    name, number = part, None
    if found:
        name, number = found["name"], next((text for text in found.groups()[1:] if text is not None), "")
        if found["space"] is not None and not is_own_name(name):
            name, number = part, None  # a number that belongs to the name, such as a version
    known = read_name(name)
    weight = 1.0
    if number is not None:
        try:
            weight = float(number.rstrip("% ")) / (100 if number.endswith("%") else 1)
        except ValueError:
            weight = -1.0
    if not 0 <= weight <= MAX_WEIGHT:
        raise RequestError(
            "invalid_request",
            f"The weight {(number or '').strip()[:20]!r} of {known.modality.name} is not a number from 0 to "
            f"{MAX_WEIGHT:g}.",
            hint=f"Write it like {known.modality.name}:0.8, or leave it out for 1.",
        )
    return RequestedModality(known.modality, weight, known.word, "" if known.exact else name.strip())


def parse_one(text: str, hint: str) -> RequestedModality:
    """Read one modality where there can be no more; the hint says what to do with several.

    Raises:
        RequestError: As `parse_modalities`, and for several modalities.
    """
    asked, *others = parse_modalities(text)
    if others:
        told = f"One modality is wanted here, not {len(others) + 1}."
        raise RequestError("invalid_request", told, hint=hint)
    return asked


def parse_extra(modality: str, weight: float) -> RequestedModality:
    """Read the modality of an extra control; a weight after its name counts where none is given.

    Raises:
        RequestError: As `parse_one`.
    """
    asked = parse_one(modality, "Give each further modality an entry of its own in extra_controls.")
    return asked if weight == 1 else replace(asked, weight=weight)


def parse_extras(rows: "Sequence[ExtraControl]") -> tuple[RequestedModality, ...]:
    """Read the modalities of extra controls; raises as `parse_one`."""
    return tuple(parse_extra(row.modality, row.weight) for row in rows)


def reading_notes(asked: Sequence[RequestedModality]) -> tuple[RequestWarning, ...]:
    """Say how names were read that are not a modality's own."""
    return tuple(
        RequestWarning(
            kind="assumed",
            feature="modality",
            detail=f"{row.read_from[:40]!r} was read as {row.modality.name} with the weight {row.weight:g}.",
        )
        for row in asked
        if row.read_from
    )


PictureName = Annotated[str, BeforeValidator(plain_text)]
"""A reference to a picture, taken out of whatever it was wrapped in."""


def lone_settings(given: Mapping[str, object]) -> list[RequestError]:
    """The refusals of settings that say something about a start picture, where none is given."""
    if given.get(START) is not None:
        return []
    refusals = {
        "strength": RequestError(
            "invalid_request",
            "strength says how far to leave init_image, but no init_image is given.",
            hint="Give init_image for image-to-image; for the strength of a control write its weight, as in canny:0.6.",
        ),
        MASK: RequestError(
            "invalid_request",
            "mask_image says which part of init_image to repaint, but no init_image is given.",
            hint="Give the picture to be repainted as init_image; it may be the same as control_image.",
        ),
    }
    return [refusal for name, refusal in refusals.items() if given.get(name) is not None]


ModalityText = Annotated[
    str, BeforeValidator(lambda value: json.dumps(value) if isinstance(value, list | dict) else value)
]
"""Modalities as they are written; a list or an object is taken as its JSON text."""
Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]


class ExtraControl(Frozen):
    """A further control, with a picture of its own."""

    modality: ModalityText
    image: PictureName
    weight: float = Field(default=1.0, ge=0, le=2)
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)
    is_map: bool = False


class Essentials(BaseModel):
    """The subject of a generation, which a request cannot do without."""

    prompt: Prompt = Field(description="what to draw; only with like_job it may be left out")
    control_image: PictureName = Field(
        min_length=1, description="the picture whose structure to keep; only with like_job it may be left out"
    )


_MOST_OPTIONS_CHARACTERS = 20_000


def _checked(options: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(options)) > _MOST_OPTIONS_CHARACTERS:
        raise PydanticCustomError("too_long", "They have more than 20,000 characters, and no provider takes that much")
    return options


Options = Annotated[dict[str, JsonValue], AfterValidator(_checked)]


class Details(Frozen):
    """Everything else, which has defaults."""

    modality: ModalityText = Field(
        default="canny", description="From list_modalities, weights 0-2, several by commas: canny:0.6,depth:0.4"
    )
    extra_controls: list[ExtraControl] = Field(
        default=[], max_length=8, description="Controls with own pictures; weight 0-2, start and end 0-1"
    )
    control_is_map: bool = Field(default=False, description="control_image is a ready map")
    init_image: PictureName | None = Field(default=None, description="For image-to-image")
    mask_image: PictureName | None = Field(default=None, description="White = repaint")
    strength: float | None = Field(default=None, ge=0, le=1, description="How far to leave init_image")
    negative_prompt: str | None = Field(default=None, max_length=8000)
    provider: str = Field(default="auto", description="From list_modalities")
    model: str | None = Field(default=None, max_length=200, description="From list_models")
    width: int | None = Field(default=None, ge=16, le=8192, description="Pixels")
    height: int | None = Field(default=None, ge=16, le=8192)
    num_images: int = Field(default=1, ge=1, le=4)
    steps: int | None = Field(default=None, ge=1, le=150)
    guidance: float | None = Field(default=None, ge=0, le=30)
    scheduler: str | None = Field(default=None, max_length=200)
    seed: int | None = Field(default=None, ge=0, le=4294967295)
    provider_options: Options = Field(default={}, description="The provider's own knobs")


class GenerateRequest(Details, Essentials):
    """The parameters of a generation; `controlnet_generate` adds how long to wait and what to show."""

    @property
    def asset_id(self) -> str | None:
        """The provider's own id of the control picture, where that is what the caller gave."""
        return self.control_image if self.control_image.startswith("asset_") else None

    @property
    def pictures(self) -> dict[str, str]:
        """The references to pictures, by name; without an asset that only the provider has."""
        named = {CONTROL: self.control_image} if self.asset_id is None else {}
        named |= {extra_name(index): extra.image for index, extra in enumerate(self.extra_controls)}
        return named | {name: row for name, row in ((START, self.init_image), (MASK, self.mask_image)) if row}
