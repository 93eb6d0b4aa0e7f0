"""`controlnet_generate`: submit a generation, wait a little, give the job back."""

from pydantic import Field, JsonValue

from controlnet_mcp.jobs.intake import planned_uploads
from controlnet_mcp.jobs.wish import Wish
from controlnet_mcp.providers.body import show, shown_headers
from controlnet_mcp.providers.values import Cost, Notice
from controlnet_mcp.tools.job_answer import job_answer, wait_for
from controlnet_mcp.tools.spec import Answer, Call, Hints, Services, ToolSpec
from controlnet_mcp.tools.views import View


class GenerateArguments(Wish):
    """A wish, and how to answer it."""

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
    warnings: tuple[Notice, ...]


async def generate(services: Services, arguments: GenerateArguments, call: Call) -> Answer:
    """Submit, wait, answer."""
    wish = Wish.model_validate(arguments.model_dump(include=set(Wish.model_fields)))
    if arguments.dry_run:
        return await _dry_run(services, wish, call)
    started = services.desk.clock()
    job = await services.desk.submit(wish, call.caller, arguments.request_key)
    job = await wait_for(services, call, job, arguments.wait_seconds, started)
    return await job_answer(services, call, job, previews=arguments.previews)


async def _dry_run(services: Services, wish: Wish, call: Call) -> Answer:
    prepared, price = await services.desk.plan(wish, call.caller)
    request = prepared.provider.build(prepared.request, "(a fresh reference)", planned_uploads(prepared))
    view = HttpView(
        method=request.method, url=request.url, headers=shown_headers(request), json_body=show(request.json)
    )
    return Answer(DryRun(provider=prepared.provider.name, request=view, price=price, warnings=prepared.warnings))


TOOL = ToolSpec(
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
