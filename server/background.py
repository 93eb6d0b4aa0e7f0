"""Tasks beside a block of code: they end with it, and its errors stay as they are."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def background() -> AsyncGenerator[TaskGroup]:
    """A task group that ends with its block; an error of the block stays itself, not part of a group."""
    failure: Exception | SystemExit | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except (Exception, SystemExit) as error:  # noqa: BLE001  # raised again as it is, below
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
