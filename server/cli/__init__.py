"""The command line: without words it serves a host over stdio, with words it does by hand what the tools do.

One module per word. A word is imported when it is used, so that `--help` and `--version` answer at once.
"""

import importlib

import click

from controlnet_mcp.server import __version__

WORDS: dict[str, str] = {
    "serve": "Serve MCP to a host, over stdio or HTTP.",
    "generate": "Draw a new picture that keeps the structure of a picture.",
    "status": "Look at a job, and wait for it.",
    "sheet": "Lay a finished job out on one page: control image, map, results.",
    "jobs": "List recent jobs, newest first.",
    "cancel": "Stop a job where the provider can.",
    "modalities": "Say which structures can be kept, and by whom.",
    "models": "Say what models and options a provider has.",
    "control-map": "Make the control map of a picture.",
    "doctor": "Say what is configured, reachable and missing.",
    "demo": "Show the main job end to end, without key or network.",
}
"""Every word with its line in the help; its module has the same name with underscores and holds `command`."""


class _Words(click.Group):
    """A group that knows its commands by name and imports the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # the interface has it
        """All words, in the order of the table."""
        return list(WORDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Import a word."""
        if cmd_name not in WORDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """Write the table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl(list(WORDS.items()))


@click.group(cls=_Words, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="controlnet-mcp")
@click.pass_context
def cli(context: click.Context) -> None:
    """ControlNet image generation for assistants.

    Without a command, serve MCP over stdin and stdout: that is how hosts start this program.
    """
    if context.invoked_subcommand is None:
        from controlnet_mcp.server.cli.serve import serve_stdio

        serve_stdio()


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed or refused, 2 wrongly called, 130 interrupted."""
    cli(prog_name="controlnet-mcp")
