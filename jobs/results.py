"""Bringing finished pictures home: downloaded, proved to be pictures, stored as the provider sent them."""

from dataclasses import dataclass
from functools import partial

from anyio import to_thread

from controlnet_mcp.foundation.errors import ControlNetError, ImageError, StorageError
from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.jobs.record import JobRecord, ResultImage
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.errors import ProviderError, undelivered
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.providers.types import Output, RequestWarning


@dataclass(frozen=True, slots=True)
class Collected:
    """What could be brought home.

    Attributes:
        images: The pictures that are stored, in order.
        outputs: All outputs; those that are stored name their hash, so that they are not fetched again.
        missing: Why another one is not, worth another try; `None` when all are there.
    """

    images: tuple[ResultImage, ...]
    outputs: tuple[Output, ...]
    missing: ControlNetError | None = None

    @property
    def notices(self) -> list[RequestWarning]:
        """What to say when the rest is given up."""
        if self.missing is None:
            return []
        detail = f"Only {len(self.images)} of the pictures could be brought home: {self.missing.message}"
        return [RequestWarning(kind="adjusted", feature="num_images", detail=detail)]


async def collect(job: JobRecord, provider: Provider, runner: Sender, blobs: BlobStore) -> Collected:
    """Fetch every output of a job; safe to repeat, since pictures are stored under their own hash.

    Raises:
        ProviderError: There is nothing to fetch.
        StorageError: There is no room for a picture, or the data folder cannot be written.
    """
    if not job.outputs:
        raise ProviderError(
            "provider_failed", f"{provider.name} finished without a picture.", provider=provider.name, retryable=True
        )
    images: list[ResultImage] = []
    outputs: list[Output] = []
    missing: ControlNetError | None = None
    for output in job.outputs:
        try:
            async with runner.bringing(provider):
                image = await _bring(output, provider, runner, blobs)
        except StorageError:
            raise
        except ControlNetError as error:
            missing = error
            outputs.append(output)
        else:
            images.append(image)
            outputs.append(output.model_copy(update={"sha256": image.picture.sha256}))
    return Collected(tuple(images), tuple(outputs), missing)


async def _bring(output: Output, provider: Provider, runner: Sender, blobs: BlobStore) -> ResultImage:
    try:
        content = None if output.sha256 else await runner.download(provider, output)
        picture = await to_thread.run_sync(partial(_stored, output, content, blobs), limiter=runner.decoding)
    except ImageError as error:
        raise undelivered(provider.name, provider.title, error) from error
    return ResultImage(picture=picture, flagged=output.flagged)


def _stored(output: Output, content: bytes | None, blobs: BlobStore) -> StoredPicture:
    return blobs.put_original(blobs.get(output.sha256 or "") if content is None else content, RESULT_LIMITS)
