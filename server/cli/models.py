"""`models`: models, schedulers, sizes and options of one provider."""

import click

from controlnet_mcp.server.cli.session import ask
from controlnet_mcp.server.cli.showing import json_text
from controlnet_mcp.tools.list_models import TOOL, ModelList


@click.command()
@click.argument("provider")
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def command(provider: str, *, as_json: bool) -> None:
    """Say what models, schedulers, sizes and options PROVIDER has."""
    found = ModelList.model_validate(ask(TOOL, {"provider": provider}).body)
    if as_json:
        click.echo(json_text(found))
        return
    from controlnet_mcp.server.cli.tables import show_table

    show_table(("model", "what it is"), [(row.name, row.summary or row.family or "") for row in found.models])
    sizes = found.sizes
    click.echo(f"\nSizes: {sizes.minimum} to {sizes.maximum} pixels a side, in steps of {sizes.multiple}.")
    click.echo(f"Schedulers: {', '.join(found.schedulers) or 'none to choose'}.")
    click.echo(f"Options (--provider-option NAME=VALUE): {', '.join(found.options) or 'none'}.")
