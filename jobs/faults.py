"""Faults that a job's own life can end in, and errors as they are kept in the record."""

from controlnet_mcp.foundation.errors import ControlNetError
from controlnet_mcp.providers.types import Fault

_LOOK = "Nothing was sent again. Look in the provider's own history before submitting anew."

INTERRUPTED = Fault(
    code="provider_failed",
    message="The server stopped while this was being submitted, so the provider may or may not have accepted it.",
    hint=_LOOK,
)
NEVER_SENT = Fault(
    code="timed_out",
    message="The server was not running when this should have been sent, and now it is too late. Nothing was bought.",
    hint="Call controlnet_generate again if it is still wanted.",
    retryable=True,
)
WITHDRAWN = Fault(
    code="timed_out",
    message="The process that should have sent this was stopped just before, and did not send it. Nothing was bought.",
    hint="Call controlnet_generate again if it is still wanted.",
    retryable=True,
)
DENIED = Fault(
    code="provider_failed",
    message="The provider did not accept this, as somebody found in its history. Nothing was bought.",
    hint="Call controlnet_generate again if it is still wanted.",
    retryable=True,
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
CRASHED = ControlNetError(
    "provider_failed",
    "This server failed while driving the job; its log has the details.",
    hint="The job is kept and tried again until its deadline.",
    retryable=True,
)


def fault_of(error: ControlNetError) -> Fault:
    """An error as it is kept in the record."""
    return Fault(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)


def unproven(fault: Fault) -> Fault:
    """The fault of a submission whose outcome stays unknown."""
    return fault.model_copy(update={"hint": _LOOK, "retryable": False})
