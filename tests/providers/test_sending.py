"""Requests leave one after the other, so that nobody else waits for many of them."""

from itertools import count
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio.lowlevel import checkpoint

from controlnet_mcp.providers.types import RemoteTask
from tests.support.job_layer import Service, open_job_layer, says

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("loop_watch")]
JOBS = 30


async def test_many_requests_that_are_due_at_once_leave_room_for_others(tmp_path: Path) -> None:
    """The event loop comes round between any two of them, and none waits for the answer of another."""
    rounds, left, everybody = 0, list[int](), anyio.Event()

    async def note(_request: httpx2.Request) -> None:
        left.append(rounds)
        if len(left) == JOBS:
            everybody.set()
        await everybody.wait()

    async with open_job_layer(tmp_path, Service(poll=[says("running")], before=note)) as layer:
        with anyio.fail_after(120):
            async with anyio.create_task_group() as tasks:
                for number in range(JOBS):
                    tasks.start_soon(layer.sender.poll, layer.provider, RemoteTask(remote_id=f"task-{number}"))
                for rounds in count():  # noqa: B007  # read by `note`
                    if everybody.is_set():
                        break
                    await checkpoint()
    assert len(set(left)) == JOBS
