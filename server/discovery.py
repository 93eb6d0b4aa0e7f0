"""What clients of the current protocol are told of this server before they ask for anything else."""

from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from controlnet_mcp.server.updates import Context


async def discover(
    server: Server[dict[str, Any]], _context: Context, _params: types.RequestParams
) -> types.DiscoverResult:
    """What this server can do: jobs can be subscribed to, and no list ever changes (the SDK would promise changes)."""
    return types.DiscoverResult(
        supported_versions=list(MODERN_PROTOCOL_VERSIONS),
        capabilities=server.get_capabilities(),
        instructions=server.instructions,
    )
