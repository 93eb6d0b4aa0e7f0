"""The commands on providers: `modalities` and `models`."""

import click

from controlnet_mcp.server.cli.options import arguments_of, tool_options
from controlnet_mcp.server.cli.output import show_table
from controlnet_mcp.server.cli.session import ask
from controlnet_mcp.server.mcp.rendering import text_of
from controlnet_mcp.tools.list_modalities import LIST_MODALITIES, ModalityList
from controlnet_mcp.tools.list_models import LIST_MODELS, ModelList


@click.command()
@tool_options(LIST_MODALITIES, {"provider": "Only this provider", "modality": "Only this structure"})
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def modalities(*, as_json: bool, **values: object) -> None:
    """Say which structures can be kept, by which providers, and who is ready."""
    found = ModalityList.model_validate(ask(LIST_MODALITIES, arguments_of(LIST_MODALITIES, values)).body)
    if as_json:
        click.echo(text_of(found))
        return
    structures = [
        (
            row.name,
            row.keeps,
            "no" if row.map_from_photo.startswith("needs") else row.map_from_photo,
            ", ".join(offer.provider for offer in row.offers),
        )
        for row in found.modalities
    ]
    providers: list[tuple[str, ...]] = []
    for entry in found.providers:
        ready = "yes" if entry.ready else f"set {' and '.join(entry.missing or ())}"
        sides = f"{entry.min_side} to {entry.max_side}"
        made = ready if entry.ai_generated else f"{ready}, not AI"
        providers.append((entry.name, made, sides, str(entry.max_controls), str(entry.max_images)))
    show_table(("modality", "keeps", "map made here", "providers"), structures)
    click.echo()
    show_table(("provider", "ready", "sides in pixels", "controls", "pictures"), providers)


@click.command()
@click.argument("provider")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def models(provider: str, *, as_json: bool) -> None:
    """Say what models, schedulers, sizes and options PROVIDER has."""
    found = ModelList.model_validate(ask(LIST_MODELS, {"provider": provider}).body)
    if as_json:
        click.echo(text_of(found))
        return
    show_table(("model", "what it is"), [(row.name, row.summary or row.family or "") for row in found.models])
    sizes = found.sizes
    click.echo(f"\nSizes: {sizes.minimum} to {sizes.maximum} pixels a side, in steps of {sizes.multiple}.")
    click.echo(f"Schedulers: {', '.join(found.schedulers) or 'none to choose'}.")
    click.echo(f"Options (--provider-option NAME=VALUE): {', '.join(found.options) or 'none'}.")
