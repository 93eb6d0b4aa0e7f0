"""Completions for the arguments of prompts and resource templates."""

import mcp_types as types

from controlnet_mcp.images.modalities import MODALITIES
from controlnet_mcp.jobs.prepare import CONTROL, MASK, START, extra_name
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import Application

_MOST = 100
"""Most values of one answer, as the protocol says."""


async def complete(
    application: Application, params: types.CompleteRequestParams, caller: Caller
) -> types.CompleteResult:
    """Offer the names that begin like what was typed."""
    await application.table.load()
    typed = params.argument.value
    names = await _names(application, params.argument.name, caller)
    fitting = [name for name in names if name.startswith(typed)]
    return types.CompleteResult(
        completion=types.Completion(values=fitting[:_MOST], total=len(fitting), has_more=len(fitting) > _MOST)
    )


async def _names(application: Application, argument: str, caller: Caller) -> list[str]:
    entries = application.services.entries
    match argument:
        case "modality":
            return list(MODALITIES)
        case "provider":
            return ["auto", *(entry.name for entry in entries)]
        case "model":
            return [model.name for entry in entries for model in entry.capabilities.models]
        case "name":
            return [CONTROL, START, MASK, extra_name(0)]
        case "job_id":
            desk = application.services.desk
            page = await desk.page(caller, status=None, provider=None, limit=_MOST, cursor=None)
            return [job.job_id for job in page.jobs]
        case _:
            return []
