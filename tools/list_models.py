"""`list_models`: models, schedulers and limits of one provider."""

import json
from itertools import accumulate

from pydantic import field_validator

from controlnet_mcp.foundation.arguments import Arguments
from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.jobs.prepare import entry_named, is_any
from controlnet_mcp.tools.tool import Answer, Call, Hints, Services, known_provider, tool
from controlnet_mcp.tools.views import View

_LONGEST_NAME = 200
_MOST_BYTES = 300_000
"""Longest list as JSON, which an answer holds twice."""


class ModelArguments(Arguments):
    """Whose models."""

    provider: str = "auto"

    _provider = field_validator("provider")(known_provider)


class ModelView(View):
    """One model."""

    name: str
    family: str | None = None
    summary: str | None = None


class SizeView(View):
    """Allowed sides in pixels."""

    minimum: int
    maximum: int
    multiple: int


class ModelList(View):
    """The models of one provider; `options` are the names that provider_options may hold."""

    provider: str
    models: tuple[ModelView, ...]
    schedulers: tuple[str, ...]
    options: dict[str, str]
    sizes: SizeView
    note: str | None = None


async def list_models(services: Services, arguments: ModelArguments, _call: Call) -> Answer:
    """Describe one provider's models: those that it lists now, or the documented ones when it cannot be asked."""
    notes: list[str] = []
    if is_any(arguments.provider):
        # the first that is ready, engines that are no AI last
        entry = min(services.entries, key=lambda row: (row.provider is None, not row.capabilities.ai_generated))
        notes = [f"No provider was named: these are of {entry.name}, the first that is ready."]
    else:
        entry = entry_named(arguments.provider, services.entries)
    can, provider = entry.capabilities, entry.provider
    models = can.models
    if provider is None:
        notes.append(f"From the documentation: set {' and '.join(entry.missing)} to ask it.")
    else:
        try:
            models = await services.jobs.sender.run(provider, provider.models())
        except ControlNetError as error:
            notes.append(f"From the documentation: it could not be asked now ({error.message})")
    views = [
        ModelView(
            name=row.name,
            family=quote(row.family, _LONGEST_NAME) or None,
            summary=quote(row.summary, _LONGEST_NAME) or None,
        )
        for row in models
        if quote(row.name, _LONGEST_NAME) == row.name  # a vendor's list can hold any text; a name is passed back
    ]
    sizes = accumulate(len(json.dumps(view.model_dump())) for view in views)
    fitting = sum(size < _MOST_BYTES for size in sizes)
    if fitting < len(views):
        notes.append(f"{len(views) - fitting} more models do not fit into an answer; each can be asked for by name.")
    fields = provider.options.model_fields if provider else {}
    return Answer(
        ModelList(
            provider=entry.name,
            models=tuple(views[:fitting]),
            schedulers=can.schedulers,
            options={name: field.description or "" for name, field in fields.items()},
            sizes=SizeView(minimum=can.sizes.minimum, maximum=can.sizes.maximum, multiple=can.sizes.multiple),
            note=" ".join(notes) or None,
        )
    )


LIST_MODELS = tool(
    name="list_models",
    title="List models",
    description="Models, schedulers, size limits and own options of one provider.",
    arguments=ModelArguments,
    hints=Hints(read_only=True, idempotent=True, open_world=True),
    handler=list_models,
    output=ModelList,
)
