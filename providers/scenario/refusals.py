"""What Scenario's refusals mean: HTTP 400, 401, 403, 404, 429 and 500 with `{status, code, message}` (and `reason`).

No 402 is documented: exhausted creative units are recognised by their words (unverified).
"""

import re

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.errors import ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.refusals import retry_after_seconds
from controlnet_mcp.providers.scenario.jobs import MODERATION, text_of
from controlnet_mcp.providers.scenario.wire import NAME

_UNITS = re.compile(r"(creative|compute) units?|credits?\b|insufficient|quota", re.IGNORECASE)
_RATE_LIMITED, _SERVER_ERROR = 429, 500

_MEANING: dict[int, tuple[ErrorCode, str, str]] = {
    400: (
        "invalid_request",
        "Scenario did not accept the request.",
        "Change what it names and try again; list_modalities and list_models show what it takes.",
    ),
    401: ("unauthorized", "Scenario refused the key.", "Check SCENARIO_API_KEY and SCENARIO_API_SECRET."),
    402: ("payment_required", "Scenario wants to be paid first.", "Buy creative units or choose another provider."),
    403: (
        "unauthorized",
        "Scenario does not allow this.",
        "The plan or the key may not use this model or the API (paid plans only): upgrade, or choose another model.",
    ),
    404: (
        "not_found",
        "Scenario does not know what was asked for.",
        "Check the model with list_models, and the asset id; the model may no longer be offered for ControlNet.",
    ),
    413: ("image_unreadable", "The pictures are too large for Scenario.", "Use smaller pictures."),
    429: (
        "rate_limited",
        "Scenario has as many jobs of this account running as its plan allows.",
        "Wait until one of them has ended, or use another provider; asking again at once repeats the refusal.",
    ),
}
_MODERATED: tuple[ErrorCode, str, str] = (
    "moderated",
    "Scenario's filter refused the request.",
    "Change the prompt or the pictures, or use another model: filters differ between models.",
)


class _Refusal(BaseModel):
    model_config = ConfigDict(extra="ignore")

    message: JsonValue = None
    reason: JsonValue = None
    error: JsonValue = None
    details: dict[str, JsonValue] | None = None


def refusal(reply: HttpReply) -> ProviderError:
    """The error of a reply that is no success.

    A server error may come after the job was accepted, so it is `unknown`; every other refusal came before any work.
    """
    told = _read(reply)
    said = next(filter(None, (text_of(told.message), text_of(told.reason), text_of(told.error))), reply.text)
    details = told.details or {}
    code, message, hint = _meaning(reply.status, said)
    waits = details.get("remainingSeconds")
    return ProviderError(
        code,
        message,
        provider=NAME,
        hint=f"{_ceiling(details)}{hint}",
        retryable=reply.status == _RATE_LIMITED or reply.status >= _SERVER_ERROR,
        delivery="unknown" if reply.status >= _SERVER_ERROR else "refused",
        retry_after_seconds=float(waits) if isinstance(waits, int | float) else retry_after_seconds(reply),
        provider_message=said,
    )


def _read(reply: HttpReply) -> _Refusal:
    try:
        return _Refusal.model_validate_json(reply.body)
    except ValidationError:
        return _Refusal()


def _meaning(status: int, said: str) -> tuple[ErrorCode, str, str]:
    if status in {400, 403}:
        if MODERATION.search(said):
            return _MODERATED
        if _UNITS.search(said):
            return _MEANING[402]
    default: tuple[ErrorCode, str, str] = ("provider_failed", f"Scenario answered HTTP {status}.", "Try again later.")
    return _MEANING.get(status, default)


def _ceiling(details: dict[str, JsonValue]) -> str:
    """The limit that a 429 names: `{actionName, actionLimit}`."""
    limit = details.get("actionLimit")
    return f"The limit is {limit:g} at once. " if isinstance(limit, int | float) else ""
