"""What the tests of services on a real socket share: a blob store, and the sender."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.sender import Sender


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    """An empty store of pictures."""
    return BlobStore(tmp_path)


@pytest.fixture
async def sender(blobs: BlobStore) -> AsyncGenerator[Sender]:
    """A sender that may fetch from nowhere but the simulator."""

    async def nowhere(url: str) -> bytes:
        raise AssertionError(f"nothing may be fetched from {url}")

    async with aclosing(Sender(PictureSource(blobs), nowhere)) as opened:
        yield opened
