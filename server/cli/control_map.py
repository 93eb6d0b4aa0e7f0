"""`control-map`: the control map of a picture as a file."""

from pathlib import Path

import click

from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.own_files import file_meant
from controlnet_mcp.server.cli.saving import place_for, save
from controlnet_mcp.server.cli.session import ask
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.extract_control_map import TOOL, MapView


@click.command()
@click.argument("image")
@tool_options(TOOL, positional=("image",))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File or folder for the map.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON; copy the map only to --output.")
def command(output: Path | None, *, as_json: bool, **values: object) -> None:
    """Make the control map of IMAGE (a path, an https URL or a controlnet:// URI) and print where it was saved."""
    arguments = arguments_of(TOOL, values)
    made = MapView.model_validate(ask(TOOL, arguments).body)
    saved: Path | None = None
    if made.path and (output or not as_json):
        source = file_meant(str(values["image"]))
        name = f"{source.stem if source else 'picture'}-{made.modality}"
        saved = save(made.path.read_bytes(), place_for(output, name, "image/png"), kept=made.path)
    if as_json:
        click.echo(json_text(made))
        return
    click.echo(f"{made.modality}, {made.width}x{made.height}, {made.coverage:.1%} lit", err=True)
    for note in made.notes or ():
        click.echo(f"note: {note}", err=True)
    click.echo(saved)
