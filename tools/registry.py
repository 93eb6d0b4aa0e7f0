"""The tools, in the order in which clients list them."""

from controlnet_mcp.tools import (
    cancel_job,
    controlnet_generate,
    extract_control_map,
    job_status,
    list_jobs,
    list_modalities,
    list_models,
)
from controlnet_mcp.tools.spec import Tool

TOOLS: tuple[Tool, ...] = (
    controlnet_generate.TOOL,
    job_status.TOOL,
    list_modalities.TOOL,
    cancel_job.TOOL,
    list_jobs.TOOL,
    extract_control_map.TOOL,
    list_models.TOOL,
)
