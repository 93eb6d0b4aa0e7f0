"""Opening the application for one command, calling tools on it as hosts do, and telling errors in a sentence.

A progress bar on stderr, where that is a terminal.
"""

import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import anyio
import click
from anyio import to_thread
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.jobs.budget import AskUser
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.cli.local_paths import with_own_files
from controlnet_mcp.server.cli.output import for_people
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.settings import PREFIX, Settings
from controlnet_mcp.tools.tool import Answer, Call, Progress, Services, Tool

ResultT = TypeVar("ResultT")
Errand: TypeAlias = Callable[[Services], Awaitable[ResultT]]
"""What a command does with the opened application."""


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        click.ClickException: A variable that makes no sense, named without its value, which may be a secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        said = (f"{_variable(row['loc'])}{row['msg']}." for row in error.errors(include_input=False))
        raise click.ClickException(" ".join(["The environment is not right.", *said])) from error


def _variable(place: tuple[int | str, ...]) -> str:
    """The variable that an error is about, and a colon; nothing where it is about several."""
    if not place:
        return ""
    field = str(place[0])
    return f"{PREFIX}{field.upper()}: " if field in Settings.model_fields else f"{field.upper()}: "


def run(errand: Errand[ResultT], settings: Settings | None = None) -> ResultT:
    """Open the application, do one errand, close it.

    Raises:
        click.ClickException: What was refused, in a sentence.
    """
    settings = settings or load_settings()
    log_to_stderr(settings.log_level, settings.redactor)
    with told():
        return anyio.run(_opened, errand, settings)


async def _opened(errand: Errand[ResultT], settings: Settings) -> ResultT:
    async with open_application(settings) as application:
        return await errand(application.services)


@contextmanager
def told() -> Generator[None]:
    """Turn refusals into one line on stderr and exit code 1."""
    try:
        yield
    except ControlNetError as error:
        raise click.ClickException(for_people(str(error))) from error


async def call(
    services: Services, tool: Tool, arguments: Mapping[str, object], progress: Progress | None = None
) -> Answer:
    """Call a tool as a host on this machine does."""
    return await tool.run(services, arguments, Call(Caller(LOCAL, local=True, ask_user=_ask_user()), progress))


def _ask_user() -> AskUser | None:
    """Ask at the terminal, where there is one."""
    if not sys.stdin.isatty():
        return None
    return lambda question: to_thread.run_sync(partial(click.confirm, question, err=True))


def ask(tool: Tool, arguments: Mapping[str, object]) -> Answer:
    """Open the application for a single call; files that are named on the command line may be read wherever they are.

    Raises:
        click.ClickException: As `run`.
    """
    arguments, folders = with_own_files(arguments)
    return run(partial(call, tool=tool, arguments=arguments), allow(load_settings(), folders))


def allow(settings: Settings, folders: frozenset[Path]) -> Settings:
    """Let pictures be read from further folders."""
    return settings.model_copy(update={"allowed_dirs": (*sorted(folders), *settings.allowed_folders)})


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
