"""A progress bar on stderr, where that is a terminal."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from controlnet_mcp.tools.spec import Progress


@contextmanager
def progress_bar() -> Generator[Progress | None]:
    """Show a bar while the block runs; gives the function that moves it, or nothing where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("waiting", total=1.0)

        async def tell(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message)

        yield tell
