"""The watch on the event loop itself: it bites, and not too much."""

from pathlib import Path

import pytest
from anyio import to_thread

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.images.blob_store import BlobStore
from tests.support.event_loop_watch import LoopWatch, watch_event_loop

pytestmark = pytest.mark.anyio


def look(blobs: BlobStore) -> None:
    """Look a picture up, which asks the disk."""
    with pytest.raises(RequestError):
        blobs.path("0" * 64)


async def test_blocking_code_of_the_project_is_found(tmp_path: Path) -> None:
    """A blocking call from the event loop raises, and is remembered even if somebody swallows the error."""
    with watch_event_loop() as watch:
        with pytest.raises(Exception, match=r"Blocking call to os\.stat"):
            BlobStore(tmp_path).path("0" * 64)
        assert watch.findings == ["os.stat"]


async def test_blocking_code_in_a_thread_is_no_finding(tmp_path: Path, loop_watch: LoopWatch) -> None:
    """That is where it belongs."""
    await to_thread.run_sync(look, BlobStore(tmp_path))
    assert loop_watch.findings == []


async def test_tests_may_block(tmp_path: Path, loop_watch: LoopWatch) -> None:
    """Only the project's own code is watched."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"
    assert loop_watch.findings == []
