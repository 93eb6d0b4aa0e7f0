"""Prompts: the wishes that people have most, worded so that a model calls the right tool the right way."""

from dataclasses import dataclass

import mcp_types as types
from mcp.shared.exceptions import MCPError

_LONGEST_ARGUMENT = 20_000


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt: its name, what it is for, and the text with places for its arguments."""

    name: str
    title: str
    description: str
    text: str


_WISHES = (
    Template(
        "sketch_to_render",
        "Render a sketch",
        "Turn a hand drawing into a finished picture that keeps its lines",
        "Turn my drawing {image} into a finished picture: {look}. Call controlnet_generate with modality sketch and "
        "keep every line of the drawing.",
    ),
    Template(
        "keep_pose",
        "Keep the pose",
        "Draw somebody else in the same pose",
        "Take the body pose of {image} and draw: {look}. Call controlnet_generate with modality pose.",
    ),
    Template(
        "restyle",
        "Keep the layout and restyle",
        "Redraw a picture in another look, keeping its layout",
        "Redraw {image} in a new look: {look}. Call controlnet_generate with modality canny:0.7,depth:0.5 where the "
        "provider has both (list_modalities tells), else canny.",
    ),
    Template(
        "colourise",
        "Colourise",
        "Give a grey picture colours",
        "Give {image} natural colours: {look}. Call controlnet_generate with modality gray.",
    ),
    Template(
        "sharpen",
        "Sharpen",
        "Make a blurred or poor picture clear",
        "Make {image} sharp and detailed: {look}. Call controlnet_generate with modality blur, or low-quality when it "
        "is pixelated or badly compressed.",
    ),
)


def _arguments() -> list[types.PromptArgument]:
    return [
        types.PromptArgument(name="image", description="Path, https URL or resource URI of the picture", required=True),
        types.PromptArgument(name="look", description="What the result should look like", required=True),
    ]


PROMPTS = tuple(
    types.Prompt(name=wish.name, title=wish.title, description=wish.description, arguments=_arguments())
    for wish in _WISHES
)


def prompt_result(name: str, arguments: dict[str, str]) -> types.GetPromptResult:
    """Word one wish.

    Raises:
        MCPError: Invalid parameters: no such prompt, or an argument is missing or too long for a message.
    """
    wish = next((wish for wish in _WISHES if wish.name == name), None)
    if wish is None:
        known = ", ".join(wish.name for wish in _WISHES)
        raise MCPError(code=types.INVALID_PARAMS, message=f"There is no prompt {name[:60]!r}. Known: {known}.")
    missing = [field for field in ("image", "look") if not arguments.get(field)]
    if missing:
        raise MCPError(code=types.INVALID_PARAMS, message=f"The prompt {name} needs {' and '.join(missing)}.")
    if max(map(len, arguments.values())) > _LONGEST_ARGUMENT:
        told = f"An argument of the prompt {name} is longer than {_LONGEST_ARGUMENT} characters. Pass a path or a link."
        raise MCPError(code=types.INVALID_PARAMS, message=told)
    text = wish.text.replace("{image}", arguments["image"]).replace("{look}", arguments["look"])
    message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.GetPromptResult(description=wish.description, messages=[message])
