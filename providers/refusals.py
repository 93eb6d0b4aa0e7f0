"""Refusals as data: what a provider's HTTP statuses, codes and words mean to the caller.

A table is read from its top; the standard meanings of HTTP follow after its end.
"""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.foundation.text import quote
from controlnet_mcp.providers.errors import Delivery, ProviderError
from controlnet_mcp.providers.http import HttpReply
from controlnet_mcp.providers.types import Fault

CHANGE = "Change the setting it names and try again."
LATER = "Try again later, or choose another provider."
MODERATION = (
    r"nsfw|moderat(ed|ion)|content.?(polic|filter|safety)|safety (filter|system|check)|inappropriate|prohibited"
)
"""Words of services that refuse a prompt or a picture for its content."""
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
"""Some services send fractions, though the standard knows whole seconds only."""
_CLIENT_ERRORS, _SERVER_ERRORS = range(400, 500), range(500, 600)
_TOO_MANY, _UNAVAILABLE = 429, 503


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of a table of refusals.

    Attributes:
        codes: HTTP statuses, or the vendor's own codes; empty matches any.
        code: Our code.
        what: What happened, as it follows the provider's name and a colon.
        hint: What to do about it.
        words: Regular expression that the vendor's words must match, whatever their case; empty matches any.
        retryable: Whether the same may go better later.
        delivery: Whether a submission may have been accepted all the same.
    """

    codes: Collection[int]
    code: ErrorCode
    what: str
    hint: str
    words: str = ""
    retryable: bool = False
    delivery: Delivery = "refused"


UNSAFE = Meaning((), "moderated", "refused by its safety filter", "Change the prompt or the picture.", words=MODERATION)
STANDARD: tuple[Meaning, ...] = (
    Meaning({400, 422}, "invalid_request", "the request was not accepted", CHANGE),
    Meaning({401}, "unauthorized", "the key was refused", "Check the provider's key."),
    Meaning({402}, "payment_required", "not enough credit", "Top up the account or choose another provider."),
    Meaning({403}, "unauthorized", "not allowed", "The plan or the key may not use this model."),
    Meaning({404, 410}, "not_found", "not found", "Check the model's name with list_models."),
    Meaning(
        {429}, "rate_limited", "rate limit reached", "Wait and try again, or choose another provider.", retryable=True
    ),
)


def meaning_of(table: Sequence[Meaning], codes: Collection[int | None], said: str) -> Meaning | None:
    """The first row for one of these codes and these words; words alone never explain a server error."""
    broken = any(code in _SERVER_ERRORS for code in codes)
    for row in (*table, *STANDARD):
        meant = not row.codes or any(code in row.codes for code in codes)
        if meant and (not row.words or (not broken and re.search(row.words, said, re.IGNORECASE))):
            return row
    return None


def refusal(  # what may differ between vendors; all but the reply are keyword-only
    reply: HttpReply,
    *,
    title: str = "",
    table: Sequence[Meaning] = (),
    said: str | None = None,
    codes: Sequence[int | None] = (),
    wait_seconds: float | None = None,
) -> ProviderError:
    """The error of a reply that is no success.

    A 503 counts as refused only when it says when to come back: a proxy that lost its patience sends one, too, while
    the provider behind it works on.

    `said` are the provider's words, where the adapter found some; `codes` are looked up in the table, where they are
    not just the HTTP status; `wait_seconds` say when to come back, where `Retry-After` does not.
    """
    codes = codes or (reply.status,)
    words = reply.text if said is None else said
    waits = retry_after_seconds(reply) if wait_seconds is None else wait_seconds
    busy = _TOO_MANY in codes or (_UNAVAILABLE in codes and (waits is not None or "retry-after" in reply.headers))
    broken = not busy and any(code in _SERVER_ERRORS for code in codes)
    name, row = title or reply.title or reply.provider, meaning_of(table, codes, words)
    if row is None:
        named = [f"code {code}" for code in dict.fromkeys(codes) if code not in {None, reply.status}]
        answer = " with ".join([f"HTTP {reply.status}", *named])
        delivery: Delivery = "refused" if busy or reply.status in _CLIENT_ERRORS else "unknown"
        row = Meaning((), "provider_failed", f"the answer was {answer}", LATER, delivery=delivery)
    unproven = broken or row.delivery == "unknown"
    return ProviderError(
        row.code,
        f"{name}: {row.what}.",
        provider=reply.provider,
        hint=row.hint,
        retryable=row.retryable or unproven or busy,
        delivery="unknown" if broken else row.delivery,
        retry_after_seconds=waits,
        provider_message=words,
    )


def fault(row: Meaning, title: str, said: str = "", note: str = "") -> Fault:
    """The end of a job that was accepted and then failed; `note` is a further sentence."""
    words = quote(said).replace('"', "'")
    parts = (f"{title}: {row.what}.", note, f'{title} said: "{words}".' if words else "")
    return Fault(code=row.code, message=" ".join(filter(None, parts)), hint=row.hint, retryable=row.retryable)


def retry_after_seconds(reply: HttpReply) -> float | None:
    """Read `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3); a date is seen from the reply's own `Date`."""
    value = reply.headers.get("retry-after", "")
    return float(value) if _SECONDS.fullmatch(value) else seconds_until(_http_date(value), reply)


def seconds_until(when: datetime | None, reply: HttpReply) -> float | None:
    """Seconds from the reply's own `Date` to a moment, at least 0."""
    now = _http_date(reply.headers.get("date", "")) or datetime.now(UTC)
    return None if when is None else max((when - now).total_seconds(), 0.0)


def _http_date(value: str) -> datetime | None:
    """Read an HTTP date; one without a zone is in UTC."""
    with suppress(ValueError, OverflowError):
        read = parsedate_to_datetime(value)
        return read if read.tzinfo else read.replace(tzinfo=UTC)
    return None
