"""A request that is prepared beside its call, which may answer or end before the pictures are read.

Nothing is sent and nothing is paid for while a request is prepared, so what is interrupted here has cost nothing.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from controlnet_mcp.foundation.errors import ControlNetError, RequestError
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.jobs.store import Admit, JobStore, Lease
from controlnet_mcp.jobs.submission_log import fault_of
from controlnet_mcp.providers.types import Fault

_AGAIN = "Call controlnet_generate again if it is still wanted."
_INTERRUPTED = Fault(
    code="provider_failed",
    message="The server stopped while it prepared the pictures of this job. Nothing was sent and nothing was bought.",
    hint=_AGAIN,
    retryable=True,
)
_TOO_SLOW = Fault(
    code="timed_out",
    message="The pictures of this job could not be prepared in time. Nothing was sent and nothing was bought.",
    hint=_AGAIN,
    retryable=True,
)
_FAULTY = Fault(
    code="provider_failed",
    message="This server failed while it prepared the job; its log has the details. Nothing was sent or bought.",
    hint=_AGAIN,
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A job that is driven as soon as the rules on new jobs admit it."""

    record: JobRecord
    admit: Admit


@dataclass(slots=True, eq=False)
class Preparation:
    """One request that this process prepares.

    Attributes:
        work: Reads its pictures and agrees on its price.
        ended: Set when there is an outcome.
    """

    work: Callable[[], Awaitable[PreparedJob]]
    ended: anyio.Event = field(default_factory=anyio.Event, init=False)
    _outcome: PreparedJob | Exception | Fault = field(default=_INTERRUPTED, init=False)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope, init=False)

    async def run(self) -> None:
        """Prepare it, once."""
        try:
            with self._scope:
                self._outcome = await self.work()
        except Exception as error:  # noqa: BLE001  # raised for whoever asks for the job
            self._outcome = error
        finally:
            self.ended.set()

    def stop(self) -> None:
        """Prepare it no further: nobody wants it any more."""
        self._scope.cancel()

    def job(self) -> PreparedJob:
        """The job that came of it, once it has ended; raises whatever went wrong."""
        match self._outcome:
            case Exception() as error:
                raise error
            case Fault() as fault:
                raise RequestError(fault.code, fault.message, hint=fault.hint, retryable=fault.retryable)
            case prepared:
                return prepared


@dataclass(frozen=True, slots=True)
class Preparations:
    """The jobs that are on record while this process still prepares them."""

    store: JobStore
    clock: Callable[[], float]
    running: dict[str, Preparation] = field(default_factory=dict[str, Preparation])

    async def step(self, job: JobRecord, lease: Lease) -> JobRecord:
        """Write what became of a job's preparation; while that goes on the job rests, and its end wakes it.

        A job that no process prepares any more fails, and so does one whose time is over.

        Raises:
            LeaseLostError: Another process drives the job; nothing was written.
            StorageError: The record cannot be written.
        """
        now, preparation = self.clock(), self.running.get(job.job_id)
        goes_on = preparation is not None and not preparation.ended.is_set()
        if goes_on and not job.cancel_requested and now < job.deadline_at:
            return job.model_copy(update={"wake_at": job.deadline_at})
        self.running.pop(job.job_id, None)
        if preparation is not None:
            preparation.stop()
        over = job.model_copy(update={"stage": None})
        if job.cancel_requested:
            return await self.store.save(over.ending("canceled", now), lease)
        found = _TOO_SLOW if goes_on else _outcome(preparation, job.job_id)
        if isinstance(found, PreparedJob):
            try:
                return await self.store.begin(found.record, lease, found.admit)
            except RequestError as error:
                found = fault_of(error)
        return await self.store.save(over.ending("failed", now, found), lease)


def _outcome(preparation: Preparation | None, job_id: str) -> PreparedJob | Fault:
    """The outcome of a preparation that has ended, here or with an earlier process, as it goes into the record."""
    if preparation is None:
        return _INTERRUPTED
    try:
        return preparation.job()
    except ControlNetError as error:
        return fault_of(error)
    except Exception:  # noqa: BLE001  # the record gets a sentence, the log gets the rest
        _log.exception("Job %s could not be prepared.", job_id)
        return _FAULTY
