"""Putting the process together: stores, providers, runner and services, once, outside any MCP session."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial

from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.errors import RequestError
from controlnet_mcp.foundation.limits import RESULT_LIMITS, Limits
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import Decoder, decode
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.jobs.budget import JOBS, Spending
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.resource_uris import PictureLookup
from controlnet_mcp.jobs.results import Scorer, depth_by
from controlnet_mcp.jobs.service import JobService, Retention, build_service
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.providers.draft.service import DraftTransport
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import NAMES, ProviderEntry, ProviderTable, build_table
from controlnet_mcp.providers.sender import open_runner
from controlnet_mcp.server.auth.file_links import FileLinks, load_secret
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.shutdown import background
from controlnet_mcp.tools.tool import Services

SHEETS_AT_ONCE = 2
"""How many comparison sheets are drawn at the same time; each holds one picture at its full size."""
_THREADS = 8
"""Worker threads at once: enough to wait for disks, few enough that pictures which are decoded in them do not crowd out
the event loop and the memory."""


@dataclass(frozen=True, slots=True)
class Application:
    """A running process: what tools and resources need.

    Attributes:
        tasks: For what goes on beside calls; ends with the process.
        drawing: Bounds the memory that sheets take.
    """

    settings: Settings
    services: Services
    addresses: PictureLookup
    table: ProviderTable
    tasks: TaskGroup
    drawing: CapacityLimiter = field(default_factory=partial(CapacityLimiter, SHEETS_AT_ONCE))


async def _fetch(url: str, *, limits: Limits, trusted_hosts: frozenset[str]) -> bytes:
    from controlnet_mcp.images.download import fetch

    return await fetch(url, limits=limits, trusted_hosts=trusted_hosts)


@asynccontextmanager
async def open_application(settings: Settings, decoder: Decoder = decode) -> AsyncGenerator[Application]:
    """Open everything that lives once per process, and drive jobs until the block ends.

    Args:
        settings: What the operator wants.
        decoder: Decodes every picture; where pictures come from strangers, in workers.
    """
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    blobs = BlobStore(settings.data_folder / "pictures", decoder)
    database = Database(settings.data_folder / "jobs.sqlite3")
    fetch = partial(_fetch, limits=RESULT_LIMITS, trusted_hosts=settings.trusted_hosts)
    source = PictureSource(blobs, await _public_link(settings))
    with closing(database):
        async with (
            open_runner(source, fetch, {"draft": DraftTransport(blobs, time.time)}, settings.trusted_hosts) as sender,
            background() as tasks,
        ):
            entries = build_table(settings.keys, settings.providers)
            store = JobStore(database, lease_seconds=settings.lease_seconds)
            addresses = PictureLookup(store)
            reader = _reader(settings, blobs, addresses)
            jobs = build_service(
                store,
                sender,
                entries,
                reader,
                blobs,
                scorer=Scorer(blobs, depth_by(settings.map_models), enabled=settings.structure_scores),
                map_models=settings.map_models,
                reachable=source.public_link is not None,
                deadline_seconds=settings.job_timeout_seconds,
                submissions_in_flight=settings.submissions_in_flight,
                spending=_spending(settings),
            )
            jobs.start(tasks)
            if settings.retention_days is not None:
                tasks.start_soon(Retention(store, blobs, settings.retention_days).run)
            yield Application(settings, _services(settings, jobs, entries, reader, blobs), addresses, entries, tasks)


def _reader(settings: Settings, blobs: BlobStore, addresses: PictureLookup) -> PictureReader:
    return PictureReader(
        blobs=blobs,
        limits=settings.limits,
        allowed_folders=settings.allowed_folders,
        trusted_hosts=settings.trusted_hosts,
        resolve_resource=addresses.sha256_of,
    )


async def _public_link(settings: Settings) -> Callable[[StoredPicture], str] | None:
    """How providers that fetch pictures by themselves reach ours, when the operator said where we are."""
    if settings.public_url is None:
        return None
    secret = await to_thread.run_sync(load_secret, settings.data_folder)
    return FileLinks(settings.public_url, secret, time.time).url_of


def _spending(settings: Settings) -> Spending:
    """The operator's rules on money.

    Raises:
        RequestError: `invalid_request` when a rule names an unknown provider: it would cap nothing.
    """
    rules = Spending(
        per_call=settings.max_cost_per_job,
        per_session=settings.max_cost_per_session,
        per_day=settings.max_cost_per_day,
        confirm_above=settings.confirm_above,
        estimates=settings.cost_estimates,
        jobs_in_flight=settings.max_jobs_in_flight,
    )
    named = {*rules.per_call, *rules.per_session, *rules.per_day, *rules.confirm_above, *rules.estimates}
    if unknown := named - {*NAMES, JOBS}:
        raise RequestError(
            "invalid_request",
            f"A rule on spending names unknown providers: {', '.join(sorted(unknown))}.",
            hint=f"Known: {', '.join(NAMES)}, and {JOBS} for all paid jobs.",
        )
    return rules


def _services(
    settings: Settings, jobs: JobService, entries: Sequence[ProviderEntry], reader: PictureReader, blobs: BlobStore
) -> Services:
    return Services(
        jobs=jobs,
        entries=entries,
        reader=reader,
        blobs=blobs,
        wait_seconds=settings.wait_seconds,
        wait_seconds_without_progress=settings.wait_seconds_without_progress,
        previews=settings.previews,
        map_models=settings.map_models,
    )
