"""Prompts for the most common tasks, and completions for the arguments of prompts and resource templates.

A prompt is worded so that a model calls the right tool with the right parameters.
"""

import re

import mcp_types as types
from mcp.shared.exceptions import MCPError

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.jobs.request import CONTROL, MASK, START, extra_name
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import Application
from controlnet_mcp.server.mcp.resources import RESOURCES, TEMPLATES

_LONGEST_ARGUMENT = 20_000
_TEMPLATES = {
    "sketch_to_render": (
        "Render a sketch",
        "Turn a hand drawing into a finished picture that keeps its lines",
        "Turn my drawing {image} into a finished picture: {look}.",
        "sketch and keep every line of the drawing",
    ),
    "keep_pose": (
        "Keep the pose",
        "Draw somebody else in the same pose",
        "Take the body pose of {image} and draw: {look}.",
        "pose",
    ),
    "restyle": (
        "Keep the layout and restyle",
        "Redraw a picture in another look, keeping its layout",
        "Redraw {image} in a new look: {look}.",
        "canny:0.7,depth:0.5 where the provider has both (list_modalities tells), else canny",
    ),
    "colourise": (
        "Colourise",
        "Give a grey picture colours",
        "Give {image} natural colours: {look}.",
        "gray",
    ),
    "sharpen": (
        "Sharpen",
        "Make a blurred or poor picture clear",
        "Make {image} sharp and detailed: {look}.",
        "blur, or low-quality when it is pixelated or badly compressed",
    ),
}
"""Name to title, description, the task with places for the arguments, and the modality to call for."""
_ARGUMENTS = [
    types.PromptArgument(name="image", description="Path, https URL or resource URI of the picture", required=True),
    types.PromptArgument(name="look", description="What the result should look like", required=True),
]
PROMPTS = tuple(
    types.Prompt(name=name, title=title, description=description, arguments=_ARGUMENTS)
    for name, (title, description, *_) in _TEMPLATES.items()
)


async def get_prompt(_context: object, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Fill in a prompt.

    Raises:
        MCPError: Invalid parameters: no such prompt, or an argument is missing or too long for a message.
    """
    name, arguments = params.name, params.arguments or {}
    if name not in _TEMPLATES:
        raise MCPError(code=types.INVALID_PARAMS, message=_no_prompt(name))
    missing = [field for field in ("image", "look") if not arguments.get(field)]
    if missing:
        raise MCPError(code=types.INVALID_PARAMS, message=f"The prompt {name} needs {' and '.join(missing)}.")
    if max(map(len, arguments.values())) > _LONGEST_ARGUMENT:
        told = f"An argument of the prompt {name} is longer than {_LONGEST_ARGUMENT} characters. Pass a path or a link."
        raise MCPError(code=types.INVALID_PARAMS, message=told)
    _, description, task, modality = _TEMPLATES[name]
    task = task.replace("{image}", arguments["image"]).replace("{look}", arguments["look"])
    text = f"{task} Call controlnet_generate with modality {modality}."
    message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.GetPromptResult(description=description, messages=[message])


def _no_prompt(name: str) -> str:
    """The refusal of a prompt that does not exist, with the names of those that do."""
    return f"There is no prompt {name[:60]!r}. Known: {', '.join(_TEMPLATES)}."


_PLACE = re.compile(r"\{\w+\}")
_RESOURCE = re.compile(
    "|".join(
        "[^/]+".join(map(re.escape, _PLACE.split(uri)))
        for uri in [*(template.uri_template for template in TEMPLATES), *(resource.uri for resource in RESOURCES)]
    )
)
"""The URI of a resource or of a template, with or without its places filled in."""
_MOST = 100
"""Most values of one answer, as the protocol says."""


async def complete(
    application: Application, params: types.CompleteRequestParams, caller: Caller
) -> types.CompleteResult:
    """Offer the names that begin with what was typed.

    Raises:
        MCPError: Invalid parameters: there is no such prompt or resource.
    """
    match params.ref:
        case types.PromptReference(name=name):
            known, said = name in _TEMPLATES, _no_prompt(name)
        case types.ResourceTemplateReference(uri=uri):
            known, said = _RESOURCE.fullmatch(uri) is not None, f"There is no resource {uri[:100]!r}."
    if not known:
        raise MCPError(code=types.INVALID_PARAMS, message=said, data={"ref": params.ref.model_dump(mode="json")})
    await application.table.load()
    entries = application.services.entries
    names: list[str] = []
    match params.argument.name:
        case "modality":
            names = list(MODALITIES)
        case "provider":
            names = ["auto", *(entry.name for entry in entries)]
        case "model":
            names = [model.name for entry in entries for model in entry.capabilities.models]
        case "name":
            names = [CONTROL, START, MASK, extra_name(0)]
        case "job_id":
            store = application.services.jobs.store
            page = await store.page(caller.principal, status=None, provider=None, limit=_MOST, cursor=None)
            names = [job.job_id for job in page.jobs]
        case _:
            pass
    fitting = [name for name in names if name.startswith(params.argument.value)]
    return types.CompleteResult(
        completion=types.Completion(values=fitting[:_MOST], total=len(fitting), has_more=len(fitting) > _MOST)
    )
