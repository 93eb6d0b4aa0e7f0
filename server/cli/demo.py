"""`demo`: the main job end to end, through a real MCP client, with nothing but this installation."""

import tempfile
import time
from pathlib import Path
from typing import cast

import click

_HEADING = "One sketch, and two new pictures that keep its lines"
_FOOTER = "controlnet-mcp demo. The two new pictures are by the built-in draft engine, which is not an AI model."


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The comparison picture (.png or .jpg).")
def command(output: Path | None) -> None:
    """Show the main job end to end, without key or network.

    Draws a sketch, starts a server of its own, talks to it as a host does, and lays the sketch, its control map and
    two new pictures side by side in controlnet-demo.png. Nothing is sent anywhere, and your own jobs are not touched.
    """
    from controlnet_mcp.server.cli.output import save

    began = time.perf_counter()
    path = save(*_sheet(output or Path()))
    click.echo(
        "\nThe last two keep the lines of the sketch. They are by the built-in draft engine, which is not an AI model:"
    )
    click.echo("it shows how things work. `controlnet-mcp doctor` says which providers are ready here.")
    click.echo(f"\nDone in {time.perf_counter() - began:.1f} s. Look at:")
    click.echo(path)


def _sheet(output: Path) -> tuple[bytes, Path]:
    """Play, and lay out what came of it: the file's bytes and where it is wanted."""
    import anyio

    from controlnet_mcp.images.sheets.page import compose, encode
    from controlnet_mcp.images.sheets.sheet import Sheet
    from controlnet_mcp.server.cli.demo_play import Play
    from controlnet_mcp.server.cli.output import place_for

    with tempfile.TemporaryDirectory(prefix="controlnet-demo-", ignore_cleanup_errors=True) as folder:
        play = Play(Path(folder).resolve(), _tell)
        try:
            anyio.run(play.run)
        except Exception as error:
            raise click.ClickException(f"The demo stopped: {_innermost(error)}. Try: controlnet-mcp doctor") from error
    as_jpeg = output.suffix.lower() in {".jpg", ".jpeg"}
    page = encode(compose(Sheet(_HEADING, (), tuple(play.panels), _FOOTER)), as_jpeg=as_jpeg)
    return page, place_for(output, "controlnet-demo", "image/jpeg" if as_jpeg else "image/png")


def _tell(seconds: float, said: str) -> None:
    click.echo(f"{seconds:5.1f} s  {said}")


def _innermost(error: Exception) -> Exception:
    """What lies in the task groups of the client."""
    while isinstance(error, ExceptionGroup):
        error = cast("ExceptionGroup[Exception]", error).exceptions[0]
    return error
