"""Sentences that were written for a model with tools, for a person with this command line."""

import re

WORD_OF_TOOL: dict[str, str] = {
    "controlnet_generate": "generate",
    "job_status": "status",
    "list_modalities": "modalities",
    "cancel_job": "cancel",
    "list_jobs": "jobs",
    "extract_control_map": "control-map",
    "list_models": "models",
}
"""Tool name to the word that does the same by hand."""

_TOOLS = re.compile("|".join(WORD_OF_TOOL))


def for_people(text: str) -> str:
    """The text with commands in the place of tools."""
    return _TOOLS.sub(lambda found: f"`controlnet-mcp {WORD_OF_TOOL[found[0]]}`", text)
