"""What a person can find in a provider's own history about a submission whose outcome is not known here."""

from dataclasses import dataclass

from controlnet_mcp.jobs.facts import Fact
from controlnet_mcp.jobs.faults import DENIED
from controlnet_mcp.providers.values import Fault, RemoteTask, Report, Submission


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        fact: How it is written down.
        fault: What the job ends with, if it ends.
    """

    fact: Fact
    fault: Fault | None = None

    @property
    def ends(self) -> bool:
        """Whether the job is over; otherwise it is driven again."""
        return self.fault is not None


def accepted_as(remote_id: str) -> Finding:
    """It was accepted, and this is the provider's id of it: the job goes on with that."""
    task = RemoteTask(remote_id=remote_id)
    return Finding(Fact.of("answer", Submission(task=task, report=Report(phase="running"))))


def not_accepted(*, send_again: bool) -> Finding:
    """It was not accepted: the job has failed, or is submitted again."""
    return Finding(Fact.of("denial", DENIED), None if send_again else DENIED)
