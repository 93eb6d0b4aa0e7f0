"""The command line: alone it serves a host over stdio; its commands do by hand what the tools do.

A command is imported when it is used, so that `--help` and `--version` answer at once.
"""

import importlib
import json
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

import click

from controlnet_mcp.server import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "serve": ("serve:serve", "Serve MCP to a host, over stdio or HTTP."),
    "generate": ("generate:generate", "Draw a new picture that keeps the structure of a picture."),
    "status": ("jobs:status", "Look at a job, and wait for it."),
    "sheet": ("jobs:sheet", "Lay a finished job out on one page: control image, map, results."),
    "jobs": ("jobs:jobs", "List recent jobs, newest first."),
    "cancel": ("jobs:cancel", "Stop a job where the provider can."),
    "modalities": ("providers:modalities", "Say which structures can be kept, and by whom."),
    "models": ("providers:models", "Say what models and options a provider has."),
    "control-map": ("generate:control_map", "Make the control map of a picture."),
    "doctor": ("doctor:doctor", "Say what is configured, reachable and missing."),
    "demo": ("demo:command", "Show the main job end to end, without key or network."),
}
"""Commands by name: `module:function` in this package, and the line in the help."""


@contextmanager
def interruptible(last_line: Callable[[], str] | None = None) -> Generator[None]:
    """End the program when the block is interrupted, with a last line on stderr."""
    try:
        yield
    except KeyboardInterrupt:
        if last_line is not None:
            click.echo(last_line(), err=True)
        sys.exit(130)  # as shells expect: 128 and the number of the signal


class Refused(click.ClickException):
    """A refusal: a line on stderr and exit code 1; with `--json` its `body` goes to stdout too."""

    def __init__(self, message: str, body: Mapping[str, object]) -> None:
        """Take the line for people, and the object for programs."""
        super().__init__(message)
        self.body = body


_JSON = "as_json"


class _LazyGroup(click.Group):
    """Commands that are imported when they are used."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take note of `--json`, also for words that are wrong."""
        ctx.meta[_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a program that asked for JSON gets refusals as JSON, too."""
        try:
            return super().invoke(ctx)
        except (click.UsageError, Refused) as error:
            if ctx.meta[_JSON]:
                wrong = {"code": "invalid_request", "message": error.format_message(), "hint": "Try --help."}
                body = error.body if isinstance(error, Refused) else {"error": {**wrong, "retryable": False}}
                click.echo(json.dumps(body, ensure_ascii=False))
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the interface has it
        """All commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """Write the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="controlnet-mcp")
@click.pass_context
def cli(context: click.Context) -> None:
    """ControlNet image generation for assistants.

    Without a command, serve MCP over stdin and stdout: that is how hosts start this program.
    """
    command = None if context.invoked_subcommand else cli.get_command(context, "serve")
    if command is not None:
        context.invoke(command)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed or refused, 2 wrongly called, 130 interrupted."""
    cli(prog_name="controlnet-mcp")
