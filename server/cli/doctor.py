"""`doctor`: what is configured, reachable and missing.

Of settings it shows folders and names, never a key. Ready providers are asked, by calls that cost nothing, whether they
take the key and what is left.
"""

import importlib
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable
from contextlib import aclosing, closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

import anyio
import click
from anyio import to_thread

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.providers.base import Provider
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import ProviderEntry, build_table, provider_variables
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.server import __version__
from controlnet_mcp.server.cli.session import read_settings, told
from controlnet_mcp.server.environment import unknown_names
from controlnet_mcp.server.settings import ENVIRONMENT, PREFIX, Settings, environment_notes, environment_proxy

_LITTLE_SPACE_BYTES = 200 * 1024 * 1024
_REACH_SECONDS = 4.0
_HEAVY = {"numpy": "numpy", "cv2": "opencv-python-headless", "PIL": "pillow", "mcp": "mcp"}
"""Modules that only some calls import, and the packages that bring them."""
_PORTS = {"https": 443, "http": 80}
PUBLIC_NAME = "example.com"
"""A name that the public DNS knows (IANA); it is looked up, and nothing is sent there."""

State: TypeAlias = Literal["ok", "note", "broken"]
"""`note` is worth knowing, `broken` keeps something from working."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report."""

    state: State
    what: str
    detail: str


async def examine(settings: Settings) -> list[Finding]:
    """Look at the program, the variables, the data folder, the heavy libraries and the providers."""
    # what to write into a host's configuration: a host seldom has the path of a terminal
    command = shutil.which("controlnet-mcp", path=str(Path(sys.executable).parent)) or shutil.which("controlnet-mcp")
    running = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    ours = {f"{PREFIX}{name.upper()}" for name in settings.model_fields_set - {"keys"}}
    known = provider_variables()
    names = sorted(ours | (settings.keys.keys() & known))
    return [
        Finding("ok", "version", f"controlnet-mcp {__version__}, {running}"),
        Finding("ok", "command for hosts", command or f"{sys.executable} -m controlnet_mcp.server"),
        Finding("ok", "variables", f"set: {', '.join(names)}" if names else "none set, all defaults"),
        *(Finding("note", "variable", said) for said in unknown_names(settings.keys.keys() - names, known, "")),
        *await to_thread.run_sync(check_folder, settings.data_folder),
        await check_database(settings.data_folder / "jobs.sqlite3"),
        *check_allowed(settings),
        *[await to_thread.run_sync(check_module, *row) for row in _HEAVY.items()],
        await check_names(settings),
        *check_proxies(settings),
        *[await check_provider(entry) for entry in build_table(settings.keys, settings.providers)],
    ]


def check_allowed(settings: Settings) -> list[Finding]:
    """Look whether the folders are there that local pictures may be read from."""
    if not settings.allowed_folders:
        return [Finding("note", "allowed folder", f"none: no local picture is read. Set {PREFIX}ALLOWED_DIRS.")]
    absent: State = "ok" if settings.allowed_dirs is None else "note"  # a note only where the operator named it
    found: list[Finding] = []
    for folder in settings.allowed_folders:
        fault = " (absent)" if not os.path.exists(folder) else "" if os.path.isdir(folder) else " (a file, no folder)"  # noqa: PTH110, PTH112  # pathlib raises for long names
        found.append(Finding(absent if fault else "ok", "allowed folder", f"{folder}{fault}"))
    return found


def check_folder(folder: Path) -> list[Finding]:
    """Look whether the data folder can be written, and at the free space (blocks)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        hint = f"Set {PREFIX}DATA_DIR to a folder that can be written."
        return [Finding("broken", "data folder", f"{folder} cannot be written: {error.strerror or error}. {hint}")]
    state: State = "ok" if free > _LITTLE_SPACE_BYTES else "note"
    return [Finding("ok", "data folder", str(folder)), Finding(state, "free space", f"{free / 1e9:.1f} GB")]


async def check_database(path: Path) -> Finding:
    """Look whether the record is sound, and at the number of its jobs."""
    if not await anyio.Path(path).exists():
        return Finding("ok", "job database", "not there yet; it is made with the first job")
    try:
        with closing(Database(path)) as database:
            sound, count = await JobStore(database).examine()
    except ControlNetError as error:
        return Finding("broken", "job database", str(error))
    if sound != "ok":
        return Finding("broken", "job database", f"{path} is damaged: {sound}. Move it away, or restore a copy.")
    return Finding("ok", "job database", f"{count} jobs")


def check_module(module: str, package: str) -> Finding:
    """Import a heavy library (blocks)."""
    try:
        importlib.import_module(module)
        return Finding("ok", package, version(package))
    except Exception as error:  # noqa: BLE001  # a broken library can raise anything while it is imported
        return Finding("broken", package, f"cannot be imported: {error}. Install controlnet-mcp afresh.")


async def check_names(settings: Settings) -> Finding:
    """Look whether names of the public DNS resolve, and whether to stand-in addresses of a proxy."""
    from controlnet_mcp.images.ssrf_guard import stand_in_range

    try:
        with anyio.fail_after(_REACH_SECONDS):
            answers = await anyio.getaddrinfo(PUBLIC_NAME, _PORTS["https"], type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        said = f"{PUBLIC_NAME} cannot be resolved here ({str(error) or 'no answer'})"
        return Finding("note", "names", f"{said}: links can only be fetched through a proxy, see {PREFIX}FETCH_PROXY")
    ranges = {row for answer in answers if (row := stand_in_range(answer[4][0]))}
    listed = ",".join(sorted(map(str, ranges)))
    if not ranges:
        return Finding("ok", "names", f"{PUBLIC_NAME} resolves")
    said = f"{PUBLIC_NAME} resolves to {listed}, a stand-in of a proxy on this network (Clash, Surge, sing-box)"
    allowed = [any(row.overlaps(known) for known in settings.stand_in_addresses) for row in ranges]
    if all(allowed) or settings.network.proxy:
        return Finding("ok", "names", said)
    return Finding("note", "names", f"{said}: links are refused unless {PREFIX}STAND_IN_ADDRESSES={listed} is set")


def check_proxies(settings: Settings) -> list[Finding]:
    """Look through which proxies links are fetched, and which other the environment names."""
    network, setting = settings.network, f"{PREFIX}FETCH_PROXY"
    if network.proxy:
        return [Finding("ok", "proxy of links", f"links of pictures and results are fetched through that of {setting}")]
    if settings.fetch_proxy == ENVIRONMENT:
        return [Finding("note", "proxy of links", f"{setting}={ENVIRONMENT}, but the environment names none")]
    if network.unused_proxy:
        said = f"{network.unused_proxy} is for calls to providers; links of pictures and results are fetched directly"
        return [Finding("note", "proxy of links", f"{said} unless {setting}={ENVIRONMENT} is set")]
    return []


async def check_provider(entry: ProviderEntry) -> Finding:
    """Look whether a provider is ready and, where it is on the network, takes a connection (nothing is sent)."""
    what = f"provider {entry.name}"
    if entry.provider is None:
        return Finding("note", what, f"not ready: set {' and '.join(entry.missing)}")
    ready = "ready" if entry.capabilities.ai_generated else "ready, built in, not an AI model"
    address = urlsplit(entry.provider.base_url)
    if address.scheme not in _PORTS or not address.hostname:
        return Finding("ok", what, ready)
    proxy = environment_proxy(address.scheme, address.hostname)
    asked = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else address
    place = f"the proxy {_place(asked)} of the environment" if proxy else _place(address)
    try:
        with anyio.fail_after(_REACH_SECONDS):
            stream = await anyio.connect_tcp(asked.hostname or "", asked.port or _PORTS.get(asked.scheme, 1080))
            await stream.aclose()
    except (OSError, TimeoutError, ValueError) as error:
        return Finding("broken", what, f"configured, but {place} cannot be reached: {str(error) or 'no answer'}")
    return Finding("ok", what, f"{ready}, {place} answers")


def _place(address: SplitResult) -> str:
    """An address without the user name and password that it may hold."""
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"


_ANSWER_SECONDS = 10.0


async def check_accounts(settings: Settings) -> list[Finding]:
    """Ask every ready provider that draws with a model; no job is looked at and none is made."""

    async def fetch_nothing(url: str) -> bytes:
        raise RequestError("unsupported", f"Nothing is fetched here: {url[:80]}.", hint="Use the command generate.")

    source = PictureSource(BlobStore(settings.data_folder / "pictures"))
    async with aclosing(Sender(source, fetch_nothing, {})) as sender:
        return [
            await check_account(entry.provider, sender)
            for entry in build_table(settings.keys, settings.providers)
            if entry.provider and entry.capabilities.ai_generated
        ]


async def check_account(provider: Provider, sender: Sender) -> Finding:
    """Ask for the balance, or for the models; only a refused key is broken: no answer now may be one later."""
    what = f"account {provider.name}"
    try:
        with anyio.fail_after(_ANSWER_SECONDS):
            left = await sender.run(provider, provider.balance())
            if left is None:
                await sender.run(provider, provider.models())
    except ControlNetError as error:
        return Finding("broken" if error.code == "unauthorized" else "note", what, str(error))
    except TimeoutError:
        return Finding("note", what, f"no answer within {_ANSWER_SECONDS:g} seconds")
    return Finding("ok", what, "nothing was refused; it does not tell a balance" if left is None else f"{left:g} left")


_MARKS: dict[State, tuple[str, str]] = {"ok": ("ok", "green"), "note": ("note", "yellow"), "broken": ("BROKEN", "red")}


def show(findings: Iterable[Finding]) -> None:
    """Print lines of the report."""
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        click.echo(f"{click.style(f'{mark:<7}', fg=colour)} {finding.what:<22} {finding.detail}")


@click.command()
def doctor() -> None:
    """Say what is configured, reachable and missing.

    Ready providers are asked for their balance, which costs nothing. Ends with 1 when something is broken, such as a
    key that is refused; a provider without a key is not.
    """
    show(Finding("note", "variable", said) for said in environment_notes())
    settings = read_settings()

    async def look() -> list[Finding]:
        return [*await examine(settings), *await check_accounts(settings)]

    with told():
        findings = anyio.run(look)
    show(findings)
    broken = [finding.what for finding in findings if finding.state == "broken"]
    if broken:
        raise click.ClickException(f"Broken: {', '.join(broken)}.")
    click.echo("\nNothing is broken.")
