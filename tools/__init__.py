"""One file per MCP tool: typed parameters in, a `Job` out."""

from controlnet_mcp.tools.cancel_job import CANCEL_JOB
from controlnet_mcp.tools.controlnet_generate import CONTROLNET_GENERATE
from controlnet_mcp.tools.extract_control_map import EXTRACT_CONTROL_MAP
from controlnet_mcp.tools.job_status import JOB_STATUS
from controlnet_mcp.tools.list_jobs import LIST_JOBS
from controlnet_mcp.tools.list_modalities import LIST_MODALITIES
from controlnet_mcp.tools.list_models import LIST_MODELS
from controlnet_mcp.tools.tool import Tool

TOOLS: tuple[Tool, ...] = (
    CONTROLNET_GENERATE,
    JOB_STATUS,
    LIST_MODALITIES,
    CANCEL_JOB,
    LIST_JOBS,
    EXTRACT_CONTROL_MAP,
    LIST_MODELS,
)
"""In the order in which clients list them."""
