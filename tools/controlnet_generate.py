"""`controlnet_generate`: submit a generation, wait a little, give the job back."""

from pydantic import BaseModel, Field, JsonValue

from controlnet_mcp.jobs.request import Details, GenerateRequest, PictureName, Prompt
from controlnet_mcp.providers.placeholders import show, shown_headers
from controlnet_mcp.providers.types import Cost, RequestWarning
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, checked, tool, with_roots
from controlnet_mcp.tools.views import View, job_answer, wait_for


class LooseEssentials(BaseModel):
    """The prompt and the picture, which an earlier job may give instead."""

    prompt: Prompt | None = Field(default=None, description="What to draw")
    control_image: PictureName | None = Field(
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


_BROKEN = "A character of it did not arrive whole and is U+FFFD now; give the text again if that matters."


async def generate(services: Services, arguments: GenerateArguments, call: Call) -> Answer:
    """Submit and wait, or only plan; answer with the job, or with the plan.

    Raises:
        RequestError: Something is missing that no earlier job says, or there is no such job of this caller.
    """
    jobs = services.jobs
    warnings: tuple[RequestWarning, ...] = ()
    if arguments.like_job is None and arguments.prompt is not None and arguments.control_image is not None:
        fields = {name: getattr(arguments, name) for name in GenerateRequest.model_fields}
        asked = GenerateRequest.model_construct(**fields)  # its fields were checked as arguments
    else:
        given: dict[str, JsonValue] = arguments.model_dump(
            mode="json", include=set(GenerateRequest.model_fields), exclude_unset=True, exclude_none=True
        )
        if arguments.like_job is None:
            asked = checked(GenerateRequest, given)  # says what is missing
        else:
            asked, warnings = await jobs.rerun(arguments.like_job, given, call.caller)
    broken = [name for name in ("prompt", "negative_prompt") if "\ufffd" in (getattr(asked, name) or "")]
    warnings += tuple(RequestWarning(kind="assumed", feature=name, detail=_BROKEN) for name in broken)
    pictures = (asked.control_image, asked.init_image, asked.mask_image, *(row.image for row in asked.extra_controls))
    caller = await with_roots(services, call, [name for name in pictures if name and not name.startswith("asset_")])
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
