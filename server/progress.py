"""Telling a client how far its call is, where it asked to be told."""

from controlnet_mcp.providers.secrecy import Redactor
from controlnet_mcp.server.updates import Context
from controlnet_mcp.tools.spec import Progress


def progress_for(context: Context, redactor: Redactor) -> Progress | None:
    """How to tell progress; `None` when the request did not ask for it."""
    if context.meta is None or context.meta.get("progress_token") is None:
        return None

    async def tell(fraction: float, message: str) -> None:
        await context.session.report_progress(fraction, 1.0, redactor.text(message))

    return tell
