"""Bringing finished pictures home: downloaded, proved to be pictures, stored as the provider sent them."""

from functools import partial

from anyio import to_thread

from controlnet_mcp.images.blobs import BlobStore
from controlnet_mcp.images.errors import ImageError
from controlnet_mcp.images.pictures import StoredPicture
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError, undelivered
from controlnet_mcp.providers.runner import RESULT_LIMITS, ProviderRunner
from controlnet_mcp.providers.values import Output


async def collect(
    job: JobRecord, provider: Provider, runner: ProviderRunner, blobs: BlobStore
) -> tuple[ResultImage, ...]:
    """Fetch every output of a job; safe to repeat, since pictures are stored under their own hash.

    Raises:
        ControlNetError: A picture could not be fetched, is none, or could not be stored; worth another try.
    """
    if not job.outputs:
        raise ProviderError(
            "provider_failed", f"{provider.name} finished without a picture.", provider=provider.name, retryable=True
        )
    return tuple([await _bring(output, provider, runner, blobs) for output in job.outputs])


async def _bring(output: Output, provider: Provider, runner: ProviderRunner, blobs: BlobStore) -> ResultImage:
    try:
        if output.sha256 is not None:
            content = await to_thread.run_sync(blobs.get, output.sha256)
        else:
            content = await runner.download(provider, output)
        picture = await to_thread.run_sync(partial(_store, content, blobs))
    except ImageError as error:
        raise undelivered(provider.name, error) from error
    return ResultImage(picture=picture, flagged=output.flagged)


def _store(content: bytes, blobs: BlobStore) -> StoredPicture:
    from controlnet_mcp.images.decode import original

    kept, picture = original(content, RESULT_LIMITS)
    blobs.put(kept, picture.mime_type)
    return picture
