"""What Segmind means by its HTTP statuses: 406 has four meanings and 401 two, told apart by their messages only.

Source: the error table of docs.segmind.com as quoted in the notes on providers; only HTTP 200 is billed.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from pydantic import ValidationError

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.errors import ProviderError, quote
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.refusals import refusal as standard_refusal
from controlnet_mcp.providers.segmind.wire import Answer
from controlnet_mcp.providers.types import Fault

_CHOOSE_OTHER = "list_models names the models; another provider may do it too (list_modalities)."
_KEY = re.compile(r"SG_\w+")
_MODERATED = re.compile(
    r"nsfw|moderat(ed|ion)|content.?(policy|filter)|safety (filter|system|check)|inappropriate|prohibited",
    re.IGNORECASE,
)
_RAN = frozenset({200, 422})
_REFUSALS = frozenset({400, 403, 406})
_NOT_ACCEPTABLE, _TOO_MANY, _UNAUTHORIZED, _SERVER_ERROR = 406, 429, 401, 500


class _Meaning(NamedTuple):
    code: ErrorCode
    told: str
    hint: str


_MEANINGS: dict[int, _Meaning] = {
    400: _Meaning("invalid_request", "did not accept the request", "Change the setting it names and try again."),
    403: _Meaning("unauthorized", "does not let this account or team use the model", _CHOOSE_OTHER),
    404: _Meaning(
        "not_found",
        "does not know this model, or has it only in the older version v1 of its interface; nothing was charged",
        'Use a model of list_models; for one without v2 pass provider_options {"api_version": "v1"} or set '
        "SEGMIND_API_VERSION=v1.",
    ),
    405: _Meaning(
        "provider_failed",
        "refused the HTTP method (405)",
        "Check SEGMIND_BASE_URL: a proxy or a redirect in between may change the request.",
    ),
    410: _Meaning("unsupported", "has retired this model", _CHOOSE_OTHER),
    429: _Meaning("rate_limited", "is asked too often", "Wait and try again, or choose another provider."),
    500: _Meaning(
        "provider_failed",
        "failed inside (HTTP 500), which is often a value that the model does not like; it bills only HTTP 200",
        "Look at the steps, the scheduler and the options, then try again.",
    ),
}
_NO_KEY = _Meaning(
    "unauthorized",
    "saw no key in the request",
    "A new key will not help: check that a proxy does not drop the x-api-key header, and SEGMIND_BASE_URL.",
)
_BAD_KEY = _Meaning("unauthorized", "refused the key", "Check SEGMIND_API_KEY; keys are made at platform.segmind.com.")
_UNSAFE = _Meaning("moderated", "refused this by its safety filter", "Change the prompt or the picture.")
_REFUSED_VALUE = _Meaning("invalid_request", "rejected a value before the model ran", "Change the setting it names.")
_NO_CREDITS = _Meaning(
    "payment_required",
    "has too few credits left for this model; nothing was charged",
    "Top up the Segmind account, or choose a cheaper model or another provider.",
)
_NOT_ACCEPTABLE_MEANINGS: tuple[tuple[re.Pattern[str], _Meaning], ...] = (
    (
        re.compile(r"content.?type", re.IGNORECASE),
        _Meaning(
            "provider_failed",
            "saw another content type than JSON, so something on the way changed the request",
            "Check SEGMIND_BASE_URL and proxies in between.",
        ),
    ),
    (
        re.compile(r"spend|limit (was |has been )?(reached|exceeded)", re.IGNORECASE),
        _Meaning(
            "payment_required",
            "stopped this at the spend limit of the team",
            "The owner of the Segmind team can raise the limit; it also ends with its period.",
        ),
    ),
    (re.compile(r"credit|balance|^$", re.IGNORECASE), _NO_CREDITS),
)
"""Tried in this order; no message at all means what the vendor's own page says of 406: not enough credits."""


def said(reply: HttpReply) -> str:
    """The vendor's sentence in an error's body; a page of HTML says nothing, and a key is never repeated."""
    try:
        text = Answer.model_validate_json(reply.body).said
    except ValidationError:
        text = "" if reply.text.lstrip().startswith("<") else reply.text
    return _KEY.sub("(key)", text)


def raw(reply: HttpReply) -> str:
    """The start of a body that has no sentence, without a key."""
    return _KEY.sub("(key)", reply.text)


def failed(reply: HttpReply) -> ProviderError:
    """The error of a request that was refused, broke, or ran and failed (422, or a record that says so)."""
    message = said(reply)
    if reply.status in _RAN:
        why = fault(message)
        return ProviderError(why.code, why.message, provider=reply.provider, hint=why.hint, retryable=why.retryable)
    meaning = _meaning(reply.status, message)
    if meaning is None:
        return standard_refusal(reply, said=message)
    busy, broken = reply.status == _TOO_MANY, reply.status >= _SERVER_ERROR
    return ProviderError(
        meaning.code,
        f"{reply.provider} {meaning.told}.",
        provider=reply.provider,
        hint=meaning.hint,
        retryable=busy or broken,
        delivery="unknown" if broken else "refused",
        retry_after_seconds=_until_reset(reply) if busy else None,
        provider_message=message,
    )


def expired(reply: HttpReply) -> ProviderError:
    """The error of a question about a job that Segmind no longer, or not yet, knows."""
    return ProviderError(
        "not_found",
        f"{reply.provider} does not know this job; it forgets jobs about one hour after their submission.",
        provider=reply.provider,
        hint="It is asked again until the job's deadline. After an hour the result can no longer be had through the "
        "interface; the Segmind console may still list it.",
        retryable=True,
        provider_message=said(reply),
    )


def fault(message: str) -> Fault:
    """Why a job ended as FAILED, from the vendor's sentence; failed jobs are not charged."""
    quoted = quote(_KEY.sub("(key)", message))
    told = f' Segmind said: "{quoted}".' if quoted else ""
    if _MODERATED.search(quoted):
        return Fault(code=_UNSAFE.code, message=f"Segmind {_UNSAFE.told}.{told}", hint=_UNSAFE.hint)
    return Fault(
        code="provider_failed",
        message=f"Segmind ran the job and it failed; nothing was charged.{told}",
        hint="Change the setting it names, or try again with another model.",
        retryable=True,
    )


def _meaning(status: int, message: str) -> _Meaning | None:
    if status == _UNAUTHORIZED:
        return _NO_KEY if message.lower().startswith("missing") else _BAD_KEY
    if status in _REFUSALS and _MODERATED.search(message):
        return _UNSAFE
    if status == _NOT_ACCEPTABLE:
        hits = (meaning for pattern, meaning in _NOT_ACCEPTABLE_MEANINGS if pattern.search(message.strip()))
        return next(hits, _REFUSED_VALUE)
    return _MEANINGS.get(status)


def _until_reset(reply: HttpReply) -> float | None:
    """Seconds until the limit is lifted: the reset time against the reply's own Date; there is no Retry-After."""
    reset = reply.headers.get("x-rate-limit-reset-at-utc", "").removesuffix("UTC").strip()
    try:
        now = parsedate_to_datetime(reply.headers.get("date", ""))
        when = datetime.fromtimestamp(int(reset), UTC) if reset.isdecimal() else datetime.fromisoformat(reset)
    except (ValueError, OverflowError, OSError):
        return None
    left = when.replace(tzinfo=when.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)
    return max(left.total_seconds(), 0.0)
