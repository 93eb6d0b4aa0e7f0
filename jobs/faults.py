"""Faults that a job's own life can end in, and errors as they are kept in the record."""

from controlnet_mcp.images.errors import ControlNetError
from controlnet_mcp.providers.values import Fault

INTERRUPTED = Fault(
    code="provider_failed",
    message="The server stopped while this was being submitted, so the provider may or may not have accepted it.",
    hint="Nothing was sent again. Look in the provider's own history before submitting anew.",
)
DEADLINE = Fault(
    code="timed_out",
    message="The provider did not finish before the job's deadline.",
    hint="Try again, or choose another provider or model.",
    retryable=True,
)
UNEXPLAINED = Fault(
    code="provider_failed",
    message="The provider failed without saying why.",
    hint="Try again, or change the prompt or the model.",
    retryable=True,
)
CRASHED = Fault(
    code="provider_failed",
    message="This server failed while driving the job; its log has the details.",
    hint="The job is kept and tried again.",
    retryable=True,
)


def fault_of(error: ControlNetError) -> Fault:
    """An error as it is kept in the record."""
    return Fault(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)
