"""`doctor`: what is configured, reachable and missing, without telling a secret."""

from collections.abc import Iterable

import anyio
import click

from controlnet_mcp.server.cli.accounts import check_accounts
from controlnet_mcp.server.cli.checks import Finding, State, examine
from controlnet_mcp.server.cli.session import load_settings, told
from controlnet_mcp.server.settings import Settings

_MARKS: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "broken": ("BROKEN", "red"),
}


@click.command()
def command() -> None:
    """Say what is configured, reachable and missing.

    Ready providers are asked for their balance, which costs nothing. Ends with 1 when something is broken, such as a
    key that is refused; a provider without a key is not.
    """
    settings = load_settings()
    with told():
        findings = anyio.run(_look, settings)
    _show(findings)
    broken = [finding.what for finding in findings if finding.state == "broken"]
    if broken:
        raise click.ClickException(f"Broken: {', '.join(broken)}.")
    click.echo("\nNothing is broken.")


async def _look(settings: Settings) -> list[Finding]:
    return [*await examine(settings), *await check_accounts(settings)]


def _show(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        click.echo(f"{click.style(f'{mark:<7}', fg=colour)} {finding.what:<22} {finding.detail}")
