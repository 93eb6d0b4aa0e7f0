"""`controlnet_generate`: submit a generation, wait a little, give the job back."""

from pydantic import BaseModel, Field, JsonValue

from controlnet_mcp.jobs.prepare import PICTURES, repeated
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.request import Details, GenerateRequest, Prompt
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.types import Cost, RequestWarning
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, checked, tool
from controlnet_mcp.tools.views import View, job_answer, wait_for


class LooseEssentials(BaseModel):
    """What a generation is about, as far as no earlier job says it."""

    prompt: Prompt | None = Field(default=None, description="What to draw")
    control_image: str | None = Field(
        default=None,
        min_length=1,
        description="Its structure is kept: path, https URL, data: or controlnet:// URI, asset_… id",
    )


class GenerateArguments(Details, LooseEssentials):
    """A wish, and how to answer it."""

    like_job: str | None = Field(default=None, description="Repeat it; what is given replaces its own")
    wait_seconds: float | None = Field(default=None, ge=0, le=300, description="Then the job as it stands")
    dry_run: bool = Field(default=False, description="Only show request, price, warnings")
    request_key: str | None = Field(default=None, min_length=1, max_length=200, description="Same key = same job")
    previews: bool = True


class HttpView(View):
    """The request as it will be sent, secrets hidden and picture data abbreviated."""

    method: str
    url: str
    headers: dict[str, str]
    json_body: JsonValue = Field(serialization_alias="json")


class DryRun(View):
    """What would be sent, and what it would cost."""

    dry_run: bool = True
    provider: str
    request: HttpView
    price: Cost | None
    warnings: tuple[RequestWarning, ...]


async def generate(services: Services, arguments: GenerateArguments, call: Call) -> Answer:
    """Submit, wait, answer."""
    wish, said = await _meant(services, arguments, call)
    if arguments.dry_run:
        return await _dry_run(services, wish, call, said)
    started = services.jobs.clock()
    job = await services.jobs.submit(wish, call.caller, arguments.request_key, warnings=said)
    job = await wait_for(services, call, job, arguments.wait_seconds, started)
    return await job_answer(services, call, _compared(job, wish), previews=arguments.previews)


def _compared(job: JobRecord, wish: GenerateRequest) -> JobRecord:
    """The job, and a word on settings that it was not made with: an earlier job may have had the same key."""
    made_with = job.asked or wish
    others = [name for name in GenerateRequest.model_fields if name not in PICTURES]
    differing = [name for name in others if getattr(made_with, name) != getattr(wish, name)]
    if not differing:
        return job
    detail = (
        f"The request_key was used for this job before, with another {', '.join(differing)}; what is asked for now was "
        "not drawn. Use a new request_key for a new job."
    )
    notice = RequestWarning(kind="adjusted", feature="request_key", detail=detail)
    return job.model_copy(update={"warnings": (*job.warnings, notice)})


async def _meant(
    services: Services, arguments: GenerateArguments, call: Call
) -> tuple[GenerateRequest, tuple[RequestWarning, ...]]:
    """The whole wish, with what had to be said of it.

    Raises:
        RequestError: Something is missing that no earlier job says, or there is no such job of this caller.
    """
    given: dict[str, JsonValue] = arguments.model_dump(
        mode="json", include=set(GenerateRequest.model_fields), exclude_unset=True, exclude_none=True
    )
    if arguments.like_job is not None:
        earlier = await services.jobs.get(arguments.like_job, call.caller)
        name = given.get("provider", earlier.provider)
        by_link = any(row.capabilities.needs_public_url for row in services.entries if row.name == name)
        return repeated(earlier, given, by_link=by_link)
    return checked(GenerateRequest, given), ()


async def _dry_run(services: Services, wish: GenerateRequest, call: Call, said: tuple[RequestWarning, ...]) -> Answer:
    prepared, price = await services.jobs.plan(wish, call.caller)
    request = prepared.provider.build(prepared.request, "(a fresh reference)", prepared.planned_uploads())
    view = HttpView(
        method=request.method, url=request.url, headers=shown_headers(request), json_body=show(request.json)
    )
    warnings = (*said, *prepared.warnings)
    return Answer(DryRun(provider=prepared.provider.name, request=view, price=price, warnings=warnings))


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
