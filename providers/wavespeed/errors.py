"""What WaveSpeed means by its statuses and codes: HTTP statuses, the same inside HTTP 200, and codes of failed tasks.

Sources: wavespeed.ai/docs (error codes, troubleshooting guide, account levels) and the published clients, as quoted in
the notes on providers. What an empty balance is answered with is not documented: HTTP 402 or a sentence about it.
"""

import re
from typing import NamedTuple

from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.providers.errors import Delivery, ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.types import Fault
from controlnet_mcp.providers.vendor import failure, retry_after_seconds
from controlnet_mcp.providers.wavespeed.wire import Envelope, Prediction, prediction_in

_OK = 200
_UNAVAILABLE = 503
_BROKEN = frozenset(range(500, 600))
"""Statuses that prove nothing about whether a submission was accepted; a 503 does where it says when to come back."""
_MODERATED = re.compile(
    r"nsfw|moderat(ed|ion)|content.?(policy|filter|safety)|safety (filter|system|check)|inappropriate|prohibited",
    re.IGNORECASE,
)
_UNPAID = re.compile(r"(insufficient|not enough|too few|low) (credit|balance|fund)|top.?up|recharge", re.IGNORECASE)


class _Meaning(NamedTuple):
    code: ErrorCode
    told: str
    hint: str
    retryable: bool = False
    delivery: Delivery = "refused"


_CHANGE = "Change the setting it names and try again."
_LATER = "Try again later, or choose another provider."
_UNSAFE = _Meaning("moderated", "refused this by its safety filter", "Change the prompt or the picture.")
_NO_CREDITS = _Meaning(
    "payment_required", "wants to be paid first", "Top up the WaveSpeed account, or choose another provider."
)
_MEANINGS: dict[int, _Meaning] = {
    400: _Meaning("invalid_request", "did not accept the request", _CHANGE),
    401: _Meaning(
        "unauthorized",
        "refused the key",
        "Check WAVESPEED_API_KEY; a key works only after the account's first top-up.",
    ),
    402: _NO_CREDITS,
    403: _Meaning("unauthorized", "does not let this account use the model", "list_models names the others."),
    404: _Meaning(
        "not_found",
        "does not know this",
        "Use a model of list_models; with WAVESPEED_API_VERSION=v2, try v3: the older version may be gone.",
    ),
    422: _Meaning("invalid_request", "did not accept the request", _CHANGE),
    429: _Meaning(
        "rate_limited",
        "is asked too often",
        "The limits are per minute and depend on the account's tier (Bronze: 2 pictures a minute); wait a minute, or "
        "choose another provider.",
        retryable=True,
    ),
    _UNAVAILABLE: _Meaning("provider_failed", "is not available now", _LATER, retryable=True),
    1200: _UNSAFE,
    1400: _Meaning("invalid_request", "misses a setting", _CHANGE),
    1401: _Meaning("invalid_request", "did not accept a setting", _CHANGE),
    1402: _Meaning(
        "image_unreadable",
        "could not read the control picture",
        "Pass the picture as a file, or as an https link that opens without a login.",
    ),
    1403: _Meaning("provider_failed", "failed to draw this", _LATER, retryable=True),
    1405: _Meaning("provider_failed", "failed to draw this", _LATER, retryable=True),
    5000: _Meaning("provider_failed", "failed inside", _LATER, retryable=True, delivery="unknown"),
    5003: _Meaning("provider_failed", "is not available now", _LATER, retryable=True, delivery="unknown"),
    5004: _Meaning("timed_out", "ran out of time", _LATER, retryable=True, delivery="unknown"),
}
_ABOUT_THE_REQUEST = frozenset({400, 403, 422, 1400, 1401, None})
"""Codes that may also stand for an empty balance or a refused prompt: then the sentence beside them tells."""
_FAILED = _Meaning("provider_failed", "failed to draw this", _LATER, retryable=True)
_ENDINGS: dict[str, _Meaning] = {
    "failed": _FAILED,
    "timeout": _Meaning("timed_out", "ran out of time", _LATER, retryable=True),
    "deleted": _Meaning("not_found", "has deleted this task", "Submit it again if it is still wanted."),
    "cancelled": _Meaning("canceled", "cancelled this task", "Submit it again if it is still wanted."),
}


def said(reply: HttpReply) -> str:
    """The vendor's sentence in an answer; a page of HTML says nothing."""
    try:
        told = Envelope.model_validate_json(reply.body).message
    except ValidationError:
        return "" if reply.text.lstrip().startswith("<") else reply.text
    task = prediction_in(reply)
    return (task.error if task else "") or told


def failed(reply: HttpReply) -> ProviderError:
    """The error of an answer whose status, or whose code inside HTTP 200, is no success."""
    try:
        answer = Envelope.model_validate_json(reply.body)
    except ValidationError:
        answer = Envelope()
    message = said(reply)
    codes = (answer.error_code, answer.code if reply.status == _OK else reply.status, answer.code)
    named = next((code for code in codes if code in _MEANINGS), None)
    refused = frozenset({_UNAVAILABLE}) if "retry-after" in reply.headers else frozenset[int]()
    broken = not (_BROKEN - refused).isdisjoint(codes)
    worded = _by_words(message) if named in _ABOUT_THE_REQUEST and not broken else None
    meaning = worded or _MEANINGS.get(named or 0)
    if meaning is None:
        return failure(reply, message) if reply.status != _OK else _unexpected(reply, answer.code, message)
    return ProviderError(
        meaning.code,
        f"{reply.provider} {meaning.told}.",
        provider=reply.provider,
        hint=meaning.hint,
        retryable=meaning.retryable or broken,
        delivery="unknown" if broken else meaning.delivery,
        retry_after_seconds=retry_after_seconds(reply),
        provider_message=message,
    )


def gone(reply: HttpReply) -> ProviderError:
    """The error of a question about a task that WaveSpeed does not know, or no longer."""
    return ProviderError(
        "not_found",
        f"{reply.provider} does not know this task; it keeps tasks and their pictures for seven days.",
        provider=reply.provider,
        hint="It is asked again until the job's deadline; WaveSpeed's own list of predictions may still show it.",
        retryable=True,
        provider_message=said(reply),
    )


def fault(task: Prediction) -> Fault:
    """Why a task ended without pictures; failed tasks are refunded within three hours (troubleshooting guide)."""
    ending = task.status.lower()
    meaning = _ENDINGS.get(ending, _FAILED)
    if ending == "failed":
        meaning = _MEANINGS.get(task.code or 0) or _by_words(task.error) or _FAILED
    quoted = quote(task.error)
    told = f' WaveSpeed said: "{quoted}".' if quoted else ""
    refund = " Failed tasks are refunded." if ending == "failed" else ""
    return Fault(
        code=meaning.code,
        message=f"WaveSpeed {meaning.told}.{refund}{told}",
        hint=meaning.hint,
        retryable=meaning.retryable,
    )


def _by_words(message: str) -> _Meaning | None:
    if _UNPAID.search(message):
        return _NO_CREDITS
    return _UNSAFE if _MODERATED.search(message) else None


def _unexpected(reply: HttpReply, code: int | None, message: str) -> ProviderError:
    return ProviderError(
        "provider_failed",
        f"{reply.provider} answered HTTP 200 with code {code} and without what was asked for.",
        provider=reply.provider,
        hint=_LATER,
        retryable=True,
        delivery="unknown",
        provider_message=message,
    )
