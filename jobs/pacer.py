"""Joins the policy of `controlnet_mcp.jobs.pace` to a job, to what its provider said, and to earlier durations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controlnet_mcp.jobs.durations import Durations, kind_of
from controlnet_mcp.jobs.pace import LONGEST_SECONDS, SHORTEST_SECONDS, Look, pause_seconds
from controlnet_mcp.jobs.record import JobRecord
from controlnet_mcp.providers.values import Report


@dataclass(frozen=True, slots=True)
class Pacer:
    """Says when to look next, and learns from every job that was seen to finish.

    Attributes:
        durations: What earlier jobs took.
        chance: Random numbers from 0 to 1.
        shortest_seconds: The shortest pauses that providers want, by name.
    """

    durations: Durations
    chance: Callable[[], float]
    shortest_seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    async def prepare(self, job: JobRecord) -> None:
        """Read what `pause_seconds` will want to know; without it, a job's kind counts as unknown.

        Raises:
            StorageError: The record cannot be read.
        """
        await self.durations.load(kind_of(job.provider, job.request))

    def pause_seconds(self, job: JobRecord, report: Report, now: float) -> float:
        """How long to leave a job alone that was not done at `now`."""
        accepted_at = job.created_at if job.accepted_at is None else job.accepted_at
        look = Look(
            elapsed_seconds=now - accepted_at,
            left_seconds=job.deadline_at - now,
            eta_seconds=report.eta_seconds,
            progress=report.progress,
            queue_position=report.queue_position,
            shortest_seconds=self.shortest_seconds.get(job.provider, SHORTEST_SECONDS),
        )
        return pause_seconds(self.durations.known(kind_of(job.provider, job.request)), look, self.chance())

    def learn(self, job: JobRecord, now: float) -> None:
        """Take note of how long a job took that is seen to be done for the first time.

        It ended between the last look that found it unfinished and this one: the middle is taken, unless the looks
        were too far apart to tell anything (a restart, a computer that slept). A job that was done when it was
        accepted needs no looking, so it teaches nothing.
        """
        if job.accepted_at is None or job.looked_at is None or now - job.looked_at > 2 * LONGEST_SECONDS:
            return
        seconds = (job.looked_at + now) / 2 - job.accepted_at
        if seconds > 0:
            self.durations.add(kind_of(job.provider, job.request), seconds)
