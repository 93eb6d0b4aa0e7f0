"""What `doctor` asks ready providers: whether the key is taken and what is left, by calls that cost nothing."""

from collections.abc import Sequence

import anyio

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import ProviderEntry, build_table
from controlnet_mcp.providers.sender import Sender, open_runner
from controlnet_mcp.server.cli.checks import Finding
from controlnet_mcp.server.settings import Settings

_ANSWER_SECONDS = 10.0


async def check_accounts(settings: Settings) -> list[Finding]:
    """Ask every ready provider that draws with a model; no job is looked at and none is made."""
    entries = build_table(settings.keys, settings.providers)
    source = PictureSource(BlobStore(settings.data_folder / "pictures"))
    async with open_runner(source, _nothing, {}) as sender:
        return [await check_account(provider, sender) for provider in _asked(entries)]


async def check_account(provider: Provider, sender: Sender) -> Finding:
    """Only a key that is refused is broken: a provider that does not answer now may do so later."""
    what = f"account {provider.name}"
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            left = await sender.run(provider, provider.balance())
            if left is None:
                await sender.run(provider, provider.models())
    except ControlNetError as error:
        return Finding("broken" if error.code == "unauthorized" else "note", what, str(error))
    except TimeoutError:
        return Finding("note", what, f"no answer within {_ANSWER_SECONDS:g} seconds")
    return Finding("ok", what, "nothing was refused; it does not tell a balance" if left is None else f"{left:g} left")


def _asked(entries: Sequence[ProviderEntry]) -> list[Provider]:
    return [row.provider for row in entries if row.provider and row.capabilities.ai_generated]


async def _nothing(url: str) -> bytes:
    raise RequestError("unsupported", f"Nothing is fetched here: {url[:80]}.", hint="Use the command generate.")
