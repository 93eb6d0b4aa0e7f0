"""`modalities`: which structures can be kept, by which providers, and who is ready."""

import click

from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.session import ask
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.list_modalities import TOOL, ModalityList, ModalityView, ProviderView


@click.command()
@tool_options(TOOL)
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def command(*, as_json: bool, **values: object) -> None:
    """Say which structures can be kept, by which providers, and who is ready."""
    found = ModalityList.model_validate(ask(TOOL, arguments_of(TOOL, values)).body)
    if as_json:
        click.echo(json_text(found))
        return
    from controlnet_mcp.server.cli.tables import show_table

    show_table(("modality", "keeps", "map made here", "providers"), map(_modality, found.modalities))
    click.echo()
    show_table(("provider", "ready", "sides in pixels", "controls", "pictures"), map(_provider, found.providers))


def _modality(row: ModalityView) -> tuple[str, ...]:
    made = "no" if row.map_from_photo.startswith("needs") else row.map_from_photo
    return row.name, row.keeps, made, ", ".join(offer.provider for offer in row.offers)


def _provider(row: ProviderView) -> tuple[str, ...]:
    ready = "yes" if row.ready else f"set {' and '.join(row.missing or ())}"
    model = "" if row.ai_generated else ", not AI"
    return row.name, f"{ready}{model}", f"{row.min_side} to {row.max_side}", str(row.max_controls), str(row.max_images)
