"""A session of one command: it opens the application, calls tools as hosts do, and tells errors in a sentence."""

import sys
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import anyio
import click
from anyio import to_thread
from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.jobs.service import Caller
from controlnet_mcp.server.app import open_application
from controlnet_mcp.server.auth.principals import LOCAL
from controlnet_mcp.server.cli import Refused
from controlnet_mcp.server.cli.local_paths import with_own_files
from controlnet_mcp.server.cli.output import for_people
from controlnet_mcp.server.logs import log_to_stderr
from controlnet_mcp.server.mcp.rendering import render_error
from controlnet_mcp.server.settings import PREFIX, WRONG_AMOUNTS, Settings, environment_notes, plain
from controlnet_mcp.tools.job_status import JOB_STATUS
from controlnet_mcp.tools.tool import Answer, Call, Progress, Services, Tool
from controlnet_mcp.tools.views import Job

ResultT = TypeVar("ResultT")
_LONGEST_CALL_SECONDS = 300.0
Command: TypeAlias = Callable[[Services], Awaitable[ResultT]]
"""The work of a command on the opened application."""


def load_settings() -> Settings:
    """Read the environment, and tell on stderr what it does not say.

    Raises:
        click.ClickException: As `read_settings`.
    """
    for note in environment_notes():
        click.echo(f"note: {note}", err=True)
    return read_settings()


def read_settings() -> Settings:
    """Read the environment.

    Raises:
        click.ClickException: All variables that make no sense, named without their values, which may be secrets.
    """
    try:
        return Settings()
    except ValidationError as error:
        said: dict[str, None] = {}
        for row in error.errors(include_input=False):
            field, *inside = row["loc"]
            wrong = WRONG_AMOUNTS if inside else plain(row["msg"])
            said[wrong if field == "keys" else f"{PREFIX}{str(field).upper()}: {wrong}"] = None
        message = f"The environment is not right. {'; '.join(said)}."
        raise refused(RequestError("not_configured", message)) from error


def run(command: Command[ResultT], settings: Settings | None = None) -> ResultT:
    """Open the application, run one command on it, close it.

    Raises:
        click.ClickException: A refusal, in a sentence.
    """
    settings = settings or load_settings()
    log_to_stderr(settings.log_level, settings.redactor)

    async def opened() -> ResultT:
        async with open_application(settings) as application:
            return await command(application.services)

    with told():
        return anyio.run(opened)


def refused(error: ControlNetError) -> Refused:
    """A refusal for the terminal: one line for people, and the error as a tool gives it for programs."""
    return Refused(for_people(str(error)), render_error(error).structured_content or {})


def innermost(error: Exception) -> Exception:
    """The error that groups of tasks have wrapped; of several, the first."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error


@contextmanager
def told() -> Generator[None]:
    """Turn refusals into one line on stderr and exit code 1; a group of tasks may have wrapped them."""
    try:
        yield
    except Exception as error:
        inner = innermost(error)
        if not isinstance(inner, ControlNetError):
            raise
        raise refused(inner) from error


async def call(
    services: Services, tool: Tool, arguments: Mapping[str, object], progress: Progress | None = None
) -> Answer:
    """Call a tool as a host on this machine does; questions go to the terminal, where there is one."""

    async def confirm(question: str) -> bool:
        return await to_thread.run_sync(partial(click.confirm, question, err=True))

    caller = Caller(LOCAL, local=True, ask_user=confirm if sys.stdin.isatty() else None)
    return await tool.run(services, arguments, Call(caller, progress))


def ask(tool: Tool, arguments: Mapping[str, object]) -> Answer:
    """Open the application for a single call; files that are named on the command line may be read wherever they are.

    Raises:
        click.ClickException: As `run`.
    """
    with told():
        arguments, folders = with_own_files(arguments)
    return run(partial(call, tool=tool, arguments=arguments), allow(load_settings(), folders))


@told()
def allow(settings: Settings, folders: frozenset[Path]) -> Settings:
    """Let pictures be read from further folders.

    Raises:
        click.ClickException: There is no data folder.
    """
    return settings.model_copy(update={"allowed_dirs": (*sorted(folders), *settings.allowed_folders)})


@contextmanager
def progress_bar() -> Generator[Progress | None]:
    """Show a bar while the block runs; gives the function that moves it, or nothing where stderr is no terminal."""
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


async def wait_for(services: Services, job: Job, wait_seconds: float) -> Job:
    """Wait for a job's end with a progress bar, in as many calls as it takes."""
    until = services.jobs.clock() + wait_seconds
    with progress_bar() as progress:
        while job.status in {"queued", "running"} and (left := until - services.jobs.clock()) > 0:
            arguments = {"job_id": job.job_id, "wait_seconds": min(left, _LONGEST_CALL_SECONDS)}
            job = Job.model_validate((await call(services, JOB_STATUS, arguments, progress)).body)
    return job
