"""`doctor`: what is configured, reachable and missing, without telling a secret."""

from collections.abc import Iterable

import anyio
import click

from controlnet_mcp.server.cli.checks import Finding, State, examine
from controlnet_mcp.server.cli.session import load_settings, told

_MARKS: dict[State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "yellow"),
    "broken": ("BROKEN", "red"),
}


@click.command()
def command() -> None:
    """Say what is configured, reachable and missing.

    Ends with 1 when something is broken; a provider without a key is not.
    """
    settings = load_settings()
    with told():
        findings = anyio.run(examine, settings)
    _show(findings)
    broken = [finding.what for finding in findings if finding.state == "broken"]
    if broken:
        raise click.ClickException(f"Broken: {', '.join(broken)}.")
    click.echo("\nNothing is broken.")


def _show(findings: Iterable[Finding]) -> None:
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        click.echo(f"{click.style(f'{mark:<7}', fg=colour)} {finding.what:<22} {finding.detail}")
