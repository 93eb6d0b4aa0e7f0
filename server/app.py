"""The parts of a serving process, put together once, outside any MCP session."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial

from anyio import CapacityLimiter, to_thread
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.limits import RESULT_LIMITS
from controlnet_mcp.images.blob_store import BlobStore
from controlnet_mcp.images.decode import Decoder, decode_channels
from controlnet_mcp.images.picture import StoredPicture
from controlnet_mcp.images.read import PictureReader
from controlnet_mcp.jobs.database import Database
from controlnet_mcp.jobs.resource_uris import PictureLookup
from controlnet_mcp.jobs.results import Scorer, depth_by
from controlnet_mcp.jobs.service import Retention, build_service
from controlnet_mcp.jobs.store import JobStore
from controlnet_mcp.providers.draft.service import DraftTransport
from controlnet_mcp.providers.placeholders import PictureSource
from controlnet_mcp.providers.registry import ProviderTable, build_table
from controlnet_mcp.providers.sender import Sender
from controlnet_mcp.server.auth.file_links import FileLinks, load_secret, sha256_behind
from controlnet_mcp.server.settings import Settings
from controlnet_mcp.server.transports.shutdown import background
from controlnet_mcp.tools.tool import Services

SHEETS_AT_ONCE = 2
"""Sheets that are drawn at the same time; each holds one picture at its full size."""
_THREADS = 8
"""Worker threads at once: enough to wait for disks, few enough that pictures which are decoded in them do not crowd out
the event loop and the memory."""


@dataclass(frozen=True, slots=True)
class Application:
    """A running process, for tools and resources.

    Attributes:
        tasks: Runs what goes on beside calls; ends with the process.
        drawing: Bounds the memory that sheets take.
    """

    settings: Settings
    services: Services
    pictures: PictureLookup
    table: ProviderTable
    tasks: TaskGroup
    drawing: CapacityLimiter = field(default_factory=partial(CapacityLimiter, SHEETS_AT_ONCE))


@asynccontextmanager
async def open_application(settings: Settings, decoder: Decoder = decode_channels) -> AsyncGenerator[Application]:
    """Open everything that lives once per process, and drive jobs until the block ends.

    `decoder` decodes every picture: in workers, where pictures come from strangers.

    Raises:
        RequestError: `invalid_request`: a setting names an unknown provider.
    """
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    blobs = BlobStore(settings.data_folder / "pictures", decoder)
    table = build_table(settings.keys, settings.providers)
    public_link: Callable[[StoredPicture], str] | None = None
    if settings.public_url is not None:  # then providers that fetch pictures by themselves reach ours
        secret = await to_thread.run_sync(load_secret, settings.data_folder)
        public_link = FileLinks(settings.public_url, secret, time.time).url_of

    network = settings.network

    async def fetch(url: str) -> bytes:
        from controlnet_mcp.images.download import fetch

        return await fetch(url, limits=RESULT_LIMITS, trusted_hosts=settings.trusted_hosts, network=network)

    engines = {"draft": DraftTransport(blobs, time.time)}
    source = PictureSource(blobs, public_link)
    with closing(Database(settings.data_folder / "jobs.sqlite3")) as database:
        async with (
            aclosing(Sender(source, fetch, engines, settings.trusted_hosts, network)) as sender,
            background() as tasks,
        ):
            store = JobStore(database, lease_seconds=settings.lease_seconds)
            lookup = PictureLookup(store)
            reader = PictureReader(
                blobs,
                settings.limits,
                settings.allowed_folders,
                settings.trusted_hosts,
                lookup.sha256_of,
                open_link=partial(sha256_behind, folder=settings.data_folder),
                network=network,
            )
            jobs = build_service(
                store,
                sender,
                table,
                reader,
                blobs,
                scorer=Scorer(blobs, depth_by(settings.map_models), enabled=settings.structure_scores),
                map_models=settings.map_models,
                reachable=public_link is not None,
                deadline_seconds=settings.job_timeout_seconds,
                patience_seconds=max(1.0, 0.75 * settings.wait_seconds_without_progress),
                submissions_in_flight=settings.submissions_in_flight,
                spending=settings.spending,
            )
            jobs.start(tasks)
            if settings.retention_days is not None:
                tasks.start_soon(Retention(store, blobs, settings.retention_days).run)
            services = Services(
                jobs,
                table,
                reader,
                blobs,
                settings.wait_seconds,
                settings.wait_seconds_without_progress,
                settings.previews,
                settings.map_models,
            )
            yield Application(settings, services, lookup, table, tasks)
