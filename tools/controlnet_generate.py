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
    """The prompt and the picture, which an earlier job may give instead."""

    prompt: Prompt | None = Field(default=None, description="What to draw")
    control_image: str | None = Field(
        default=None,
        min_length=1,
        description="Its structure is kept: path, https URL, data: or controlnet:// URI, asset_… id",
    )


class GenerateArguments(Details, LooseEssentials):
    """A generation, and the form of the answer."""

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
    """The request that would be sent, and its price."""

    dry_run: bool = True
    provider: str
    request: HttpView
    price: Cost | None
    warnings: tuple[RequestWarning, ...]


async def generate(services: Services, arguments: GenerateArguments, call: Call) -> Answer:
    """Submit and wait, or only plan; answer with the job, or with the plan."""
    request, warnings = await _complete(services, arguments, call)
    if arguments.dry_run:
        prepared, price = await services.jobs.plan(request, call.caller)
        sent = prepared.provider.build(prepared.request, "(a fresh reference)", prepared.planned_uploads())
        view = HttpView(method=sent.method, url=sent.url, headers=shown_headers(sent), json_body=show(sent.json))
        warnings = (*warnings, *prepared.warnings)
        return Answer(DryRun(provider=prepared.provider.name, request=view, price=price, warnings=warnings))
    started = services.jobs.clock()
    job = await services.jobs.submit(request, call.caller, arguments.request_key, warnings=warnings)
    job = await wait_for(services, call, job, arguments.wait_seconds, started)
    return await job_answer(services, call, _with_key_warning(job, request), previews=arguments.previews)


async def _complete(
    services: Services, arguments: GenerateArguments, call: Call
) -> tuple[GenerateRequest, tuple[RequestWarning, ...]]:
    """The request, completed by the job that it repeats, with warnings on what could not be taken from there.

    Raises:
        RequestError: Something is missing that no earlier job says, or there is no such job of this caller.
    """
    given: dict[str, JsonValue] = arguments.model_dump(
        mode="json", include=set(GenerateRequest.model_fields), exclude_unset=True, exclude_none=True
    )
    if arguments.like_job is None:
        return checked(GenerateRequest, given), ()
    earlier = await services.jobs.get(arguments.like_job, call.caller)
    name = given.get("provider", earlier.provider)
    by_link = any(row.capabilities.needs_public_url for row in services.entries if row.name == name)
    return repeated(earlier, given, by_link=by_link)


def _with_key_warning(job: JobRecord, request: GenerateRequest) -> JobRecord:
    """The job, with a warning on settings that it was not made with: an earlier job may have had the same key."""
    made_with = job.asked or request
    others = [name for name in GenerateRequest.model_fields if name not in PICTURES]
    differing = [name for name in others if getattr(made_with, name) != getattr(request, name)]
    if not differing:
        return job
    detail = (
        f"The request_key was used for this job before, with another {', '.join(differing)}; what is asked for now was "
        "not drawn. Use a new request_key for a new job."
    )
    warning = RequestWarning(kind="adjusted", feature="request_key", detail=detail)
    return job.model_copy(update={"warnings": (*job.warnings, warning)})


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
