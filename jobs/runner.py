"""The runner: lives once per process, drives every job that no other process drives, and lets callers wait."""

import logging
from collections.abc import Callable
from weakref import WeakValueDictionary

import anyio
from anyio.abc import TaskGroup

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.jobs.drive import Driver
from controlnet_mcp.jobs.leases import Lease, Leases
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.writer import LeaseLostError

SWEEP_SECONDS = 10.0
WISH_SECONDS = 1.0
"""How often this process looks whether others were told that a job of this one is to be stopped."""
_log = logging.getLogger(__name__)


class JobRunner:
    """Drives jobs in tasks of their own; a caller that gives up never stops one."""

    def __init__(self, leases: Leases, driver: Driver, owner: str, clock: Callable[[], float]) -> None:
        """Take what driving needs.

        Args:
            leases: Where jobs are claimed.
            driver: Takes the steps.
            owner: Name of this process, unique on the data folder.
            clock: Seconds since the epoch.
        """
        self._leases = leases
        self._driver = driver
        self._owner = owner
        self._clock = clock
        self._driving: dict[str, anyio.Event] = {}
        self._latest: dict[str, JobRecord] = {}
        self._changed: WeakValueDictionary[str, anyio.Event] = WeakValueDictionary()
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Adopt what earlier processes left behind, and keep looking for it."""
        self._tasks = tasks
        tasks.start_soon(self._sweep)
        tasks.start_soon(self._keep_leases)
        tasks.start_soon(self._hear_wishes)

    def wake(self, job_id: str) -> None:
        """Drive a job now: a new one, or one whose caller wants it stopped."""
        if job_id in self._driving:
            self._driving[job_id].set()
        elif self._tasks is not None:
            self._driving[job_id] = anyio.Event()
            self._tasks.start_soon(self._drive, job_id)

    def drives(self, job_id: str) -> bool:
        """Whether this process drives a job, so that `changed` tells of everything that happens to it."""
        return job_id in self._driving

    def latest(self, job_id: str) -> JobRecord | None:
        """A job as this process knows it while it drives it; not all of that is worth a write to the record."""
        return self._latest.get(job_id)

    async def changed(self, job_id: str, timeout_seconds: float) -> None:
        """Wait until this process changes a job, or until the time is up."""
        event = self.next_change(job_id)
        with anyio.move_on_after(timeout_seconds):
            await event.wait()

    def next_change(self, job_id: str) -> anyio.Event:
        """What is set when this process changes a job the next time; forgotten when nobody holds it any more."""
        return self._changed.setdefault(job_id, anyio.Event())

    async def _sweep(self) -> None:
        while True:
            try:
                for job_id in await self._leases.unowned():
                    self.wake(job_id)
            except ControlNetError as error:
                _log.warning("Jobs of earlier runs cannot be looked up: %s", error)
            await anyio.sleep(min(SWEEP_SECONDS, self._leases.lease_seconds))

    async def _keep_leases(self) -> None:
        while True:
            await anyio.sleep(self._leases.lease_seconds / 3)
            if not self._driving:
                continue
            try:
                await self._leases.renew(self._owner)
            except ControlNetError as error:
                _log.warning("The leases on jobs could not be renewed: %s", error)

    async def _hear_wishes(self) -> None:
        while True:
            await anyio.sleep(WISH_SECONDS)
            if not self._driving:
                continue
            try:
                for job_id in await self._leases.wishes(self._owner):
                    known = self._latest.get(job_id)
                    if known is not None and not known.cancel_requested:
                        self.wake(job_id)
            except ControlNetError as error:
                _log.warning("It cannot be looked up which jobs are to be stopped: %s", error)

    async def _drive(self, job_id: str) -> None:
        try:
            claimed = await self._leases.claim(job_id, self._owner)
            if claimed is not None:
                await self._drive_claimed(*claimed)
        except LeaseLostError:
            _log.info("Job %s is driven by another process.", job_id)
        except ControlNetError as error:
            _log.warning("Job %s is left for the next sweep: %s", job_id, error)
        except Exception:  # noqa: BLE001  # one job's fault must not stop the others
            _log.exception("Job %s is left for the next sweep after a fault of this server.", job_id)
        finally:
            self._driving.pop(job_id, None)
            self._latest.pop(job_id, None)
            self._tell(job_id)

    async def _drive_claimed(self, job: JobRecord, lease: Lease) -> None:
        job = job.model_copy(update={"looked_at": None})  # who drove it before may have looked later than it wrote
        again = job.ended
        try:
            while not job.ended:
                job = self._latest[job.job_id] = await self._driver.step(job, lease)
                self._tell(job.job_id)
                if not job.ended:
                    job = self._latest[job.job_id] = await self._rest(job)
            if not job.settled:
                job = await self._driver.measure(job, lease, again=again)
        finally:
            if not job.settled:  # nobody claims one that is
                with anyio.CancelScope(shield=True):
                    await self._leases.release(lease)

    async def _rest(self, job: JobRecord) -> JobRecord:
        """Sleep until the next step is due or somebody wakes the job, who may want it stopped."""
        woken = self._driving[job.job_id]
        if job.wake_at > self._clock():
            with anyio.move_on_after(job.wake_at - self._clock()):
                await woken.wait()
        if not woken.is_set():
            return job
        self._driving[job.job_id] = anyio.Event()
        unwanted = job.cancel_requested or job.job_id in await self._leases.wishes(self._owner)
        return job.model_copy(update={"cancel_requested": unwanted})

    def _tell(self, job_id: str) -> None:
        event = self._changed.pop(job_id, None)
        if event is not None:
            event.set()
