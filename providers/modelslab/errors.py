"""The one table of ModelsLab's errors: by HTTP status, or by their words where they come inside HTTP 200.

Source: the vendor's pages `error-codes` and `rate-limits`. The page shows errors as `message`, the schema of the
community endpoint still as `messege`.
"""

import re
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.errors import Delivery, ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.modelslab.replies import Number, accepted, words_of
from controlnet_mcp.providers.refusals import refusal as standard_refusal
from controlnet_mcp.providers.types import Fault


class _Explained(BaseModel):
    model_config = ConfigDict(extra="ignore")

    message: JsonValue = None
    messege: JsonValue = None
    retry_after: Number = None


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: ErrorCode
    told: str
    hint: str
    retryable: bool = False
    delivery: Delivery = "refused"


_REQUEST = _Meaning("invalid_request", "did not accept the request", "Change the setting it names and try again.")
_KEY = _Meaning("unauthorized", "refused the key", "Check MODELSLAB_API_KEY, and that MODELSLAB_PLAN is its plan.")
_CREDITS = _Meaning(
    "payment_required", "wants to be paid first", "Add credits at ModelsLab, or choose another provider."
)
_PLAN = _Meaning(
    "unauthorized",
    "does not offer this on the account's plan",
    "Use another model or provider, or upgrade the plan; MODELSLAB_PLAN may also be set to the other one.",
)
_JOB = _Meaning("not_found", "does not know this job yet", "Ask again later.", retryable=True)
_MODEL = _Meaning("not_found", "does not know this model", "Check model with list_models.")
_QUEUE = _Meaning(
    "rate_limited",
    "has its queue full (5, 10 or 15 waiting requests per account, by plan)",
    "Wait until earlier jobs are done and try again, or choose another provider.",
    retryable=True,
)
_MODERATED = _Meaning("moderated", "held this back for its content", "Change the prompt or the picture and try again.")
_PICTURE = _Meaning(
    "image_unreadable",
    "could not read a picture",
    "Pass a local file instead of a link, or a link that anybody can open.",
)
_UNAVAILABLE = 503
_BUSY = _Meaning("provider_failed", "is not available now", "Try again later.", retryable=True)
_BROKEN = _Meaning("provider_failed", "had an error of its own", "Try again later.", retryable=True, delivery="unknown")
_FAILED = _Meaning("provider_failed", "failed", "Change the prompt, the model or a setting, or try again.")

_BY_STATUS = {
    400: _REQUEST,
    401: _KEY,
    402: _CREDITS,
    403: _PLAN,
    422: _REQUEST,
    429: _QUEUE,
    500: _BROKEN,
    _UNAVAILABLE: _BUSY,
}
"""The vendor's list of HTTP statuses; any other takes the standard meaning."""
_ABOUT_THE_REQUEST = frozenset({400, 403, 404, 422})
"""Statuses whose words may say more than they do."""

_BY_WORDS: tuple[tuple[str, _Meaning], ...] = (
    (r"rate limit|queued requests|too many requests", _QUEUE),
    (r"nsfw|inappropriate|prohibited|content polic", _MODERATED),
    (r"api key|invalid key|unauthori[sz]ed|authentication", _KEY),
    (r"insufficient|credit|wallet|payment|out of balance", _CREDITS),
    (r"premium|subscription|upgrade|your (current )?plan", _PLAN),
    (r"request.{0,40}not found", _JOB),
    (r"model.{0,40}not (found|exist|available)|invalid model", _MODEL),
    (r"fetch image|image.{0,20}(url|link)|(invalid|corrupt|read|load|open).{0,20}image", _PICTURE),
    (r"temporarily unavailable|maintenance|overloaded|server is busy", _BUSY),
    (r"cuda|out of memory", _FAILED),
    (r"server error|timed? ?out", _BROKEN),
    (r"required|must be|invalid|not allowed|should be|does not support|not supported", _REQUEST),
)
"""What an error inside HTTP 200 is about, by its words; the documented messages come first."""


def refusal(reply: HttpReply) -> ProviderError:
    """The error of a reply that is one, by its HTTP status or, inside HTTP 200, by its words."""
    try:
        body = _Explained.model_validate_json(reply.body)
    except ValidationError:
        body = _Explained()
    said = words_of(body.message, body.messege) or reply.text
    meaning = _meaning(reply, said)
    standard = standard_refusal(reply, said=said)
    if meaning is None:
        return standard
    bare = reply.status == _UNAVAILABLE and body.retry_after is None  # a proxy may have lost its patience
    return ProviderError(
        meaning.code,
        f"{reply.provider} {meaning.told}.",
        provider=reply.provider,
        hint=meaning.hint,
        retryable=meaning.retryable,
        delivery=standard.delivery if bare else meaning.delivery,
        retry_after_seconds=body.retry_after if body.retry_after is not None else standard.retry_after_seconds,
        provider_message=said,
    )


def fault(error: ProviderError) -> Fault:
    """An error as the end of a job that had been accepted."""
    return Fault(code=error.code, message=error.message, hint=error.hint, retryable=error.retryable)


def _meaning(reply: HttpReply, said: str) -> _Meaning | None:
    by_words = next((row for pattern, row in _BY_WORDS if re.search(pattern, said, re.IGNORECASE)), None)
    if accepted(reply):
        return by_words or _FAILED
    if reply.status in _ABOUT_THE_REQUEST and by_words in (_MODERATED, _PICTURE, _MODEL):
        return by_words
    return _BY_STATUS.get(reply.status)
