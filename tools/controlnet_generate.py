"""`controlnet_generate`: submit a generation, wait a little, give the job back."""

from collections.abc import Mapping

from pydantic import BaseModel, Field, JsonValue, field_validator

from controlnet_mcp.foundation.arguments import USUAL, Arguments, loosened, none_of, passing, says_nothing, size_in
from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.jobs.prepare import options_fault
from controlnet_mcp.jobs.request import (
    REMOVABLE,
    START,
    Details,
    Essentials,
    GenerateRequest,
    PictureName,
    Prompt,
    lone_settings,
    parse_extras,
    parse_modalities,
)
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.types import Cost, RequestWarning
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, known_provider, tool, with_roots
from controlnet_mcp.tools.views import View, job_answer, wait_for

_RANDOM = frozenset({"-1", "-1.0", "random", "rand", "randomize", "any"})
_ABOVE_ZERO = frozenset({"width", "height", "steps"})
_NO_NUMBER = frozenset({"0", "-1"})
"""Numbers that stand for none where the least is above 0."""


class LooseEssentials(BaseModel):
    """The prompt and the picture, which an earlier job may give instead."""

    prompt: Prompt | None = Field(default=None, description="What to draw")
    control_image: PictureName | None = Field(
        default=None,
        min_length=1,
        description="Its structure is kept: path, https URL, data: or controlnet:// URI, asset_… id",
    )


class GenerateArguments(Arguments, Details, LooseEssentials):
    """A generation, and the form of the answer."""

    like_job: str | None = Field(default=None, description="Repeat it; what is given replaces its own")
    wait_seconds: float | None = Field(default=None, ge=0, le=300, description="Then the job as it stands")
    dry_run: bool = Field(default=False, description="Only show request, price, warnings")
    request_key: str | None = Field(default=None, min_length=1, max_length=200, description="Same key = same job")
    previews: bool = True

    _provider = field_validator("provider")(known_provider)
    _modality = field_validator("modality")(passing(parse_modalities))
    _extra_controls = field_validator("extra_controls")(passing(parse_extras))
    _seed = field_validator("seed", mode="before")(none_of(_RANDOM))
    _usual = field_validator("model", "scheduler", mode="before")(none_of(USUAL))

    @classmethod
    def meant(cls, given: Mapping[str, object]) -> dict[str, object]:
        """Read a size in the place of a side, and tell what is empty on purpose from what a host fills in.

        A new generation may have a word for nothing as its prompt. With an earlier job an empty text takes something
        out, unless texts are empty from which nothing can be taken out.
        """
        is_new, kept = says_nothing(given.get("like_job")), frozenset({"prompt"})
        if not is_new:
            empty = {name for name, value in given.items() if isinstance(value, str) and not value.strip()}
            kept = REMOVABLE & empty if empty - LooseEssentials.model_fields.keys() <= REMOVABLE else frozenset[str]()
        meant = loosened(cls, given, kept)
        if is_new and START in given and START not in meant:
            meant.pop("strength", None)  # means nothing, and a host that fills in all cannot leave it out
        sides = size_in(meant.get("width")) or size_in(meant.get("height"))
        for index, name in enumerate(("width", "height")):
            if sides and (name not in meant or size_in(meant[name])):
                meant[name] = sides[index]
        return {name: value for name, value in meant.items() if not (name in _ABOVE_ZERO and str(value) in _NO_NUMBER)}

    @classmethod
    def faults(cls, given: Mapping[str, object], context: object) -> list[RequestError]:
        """What a new generation lacks, and options that the named provider does not have."""
        found: list[RequestError] = []
        if "like_job" not in given:
            found = lone_settings(given)
            for name, field in Essentials.model_fields.items():
                if name not in given:
                    told = f"The argument {name!r} is missing."
                    found.append(RequestError("invalid_request", told, hint=f"It means: {field.description}."))
        wrong = options_fault(given.get("provider"), given.get("provider_options"), context)
        return [*found, wrong] if wrong else found


class HttpView(View):
    """The request as it will be sent, secrets hidden and picture data abbreviated."""

    method: str
    url: str
    headers: dict[str, str]
    json_body: JsonValue = Field(serialization_alias="json")


class DryRun(View):
    """The request that would be sent, and its price."""

    dry_run: bool = True
    provider: str
    request: HttpView
    price: Cost | None
    warnings: tuple[RequestWarning, ...]


_BROKEN = "A character of it did not arrive whole and is U+FFFD now; give the text again if that matters."


async def generate(services: Services, arguments: GenerateArguments, call: Call) -> Answer:
    """Submit and wait, or only plan; answer with the job, or with the plan.

    Raises:
        RequestError: There is no such job of this caller.
    """
    jobs = services.jobs
    warnings: tuple[RequestWarning, ...] = ()
    if arguments.like_job is None:
        fields = {name: getattr(arguments, name) for name in GenerateRequest.model_fields}
        asked = GenerateRequest.model_construct(**fields)  # its fields were checked as arguments
    else:
        given: dict[str, JsonValue] = arguments.model_dump(
            mode="json", include=set(GenerateRequest.model_fields), exclude_unset=True, exclude_none=True
        )
        if "seed" in arguments.model_fields_set and arguments.seed is None:
            given["seed"] = None  # another one than the earlier job's
        asked, warnings = await jobs.rerun(arguments.like_job, given, call.caller)
    broken = [name for name in ("prompt", "negative_prompt") if "\ufffd" in (getattr(asked, name) or "")]
    warnings += tuple(RequestWarning(kind="assumed", feature=name, detail=_BROKEN) for name in broken)
    caller = await with_roots(services, call, [*asked.pictures.values()])
    if arguments.dry_run:
        plan = await jobs.plan(asked, caller)
        sent = plan.call
        view = HttpView(method=sent.method, url=sent.url, headers=shown_headers(sent), json_body=show(sent.json))
        said = (*warnings, *plan.warnings)
        return Answer(DryRun(provider=plan.provider, request=view, price=plan.price, warnings=said))
    started = jobs.clock()
    job = await jobs.submit(asked, caller, arguments.request_key, warnings=warnings)
    job = await wait_for(services, call, job, arguments.wait_seconds, started)
    return await job_answer(services, call, job, previews=arguments.previews)


CONTROLNET_GENERATE = tool(
    name="controlnet_generate",
    title="ControlNet generation",
    description=(
        "Draw a new picture that keeps the structure (edges, pose, depth, sketch) of control_image. Returns a job; "
        "if unfinished, call job_status, never resubmit. May cost money: dry_run shows the price."
    ),
    arguments=GenerateArguments,
    hints=Hints(read_only=False, open_world=True),
    handler=generate,
)
