"""What HTTP statuses mean, for adapters whose provider uses them in the standard way."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from controlnet_mcp.foundation.errors import ErrorCode
from controlnet_mcp.providers.errors import Delivery, ProviderError
from controlnet_mcp.providers.http import HttpReply

_MEANING: dict[int, tuple[ErrorCode, str, str]] = {
    400: ("invalid_request", "did not accept the request", "Change the setting it names and try again."),
    401: ("unauthorized", "refused the key", "Check the provider's key."),
    402: ("payment_required", "wants to be paid first", "Top up the account or choose another provider."),
    403: ("unauthorized", "does not allow this", "The plan or the key may not use this model."),
    404: ("not_found", "does not know this", "Check the model's name with list_models."),
    422: ("invalid_request", "did not accept the request", "Change the setting it names and try again."),
    429: ("rate_limited", "is asked too often", "Wait and try again, or choose another provider."),
}
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
"""Some services send fractions, though the standard knows whole seconds only."""
_CLIENT_ERROR = 400
_SERVER_ERROR = 500
_TOO_MANY = 429
_UNAVAILABLE = 503


def retry_after_seconds(reply: HttpReply) -> float | None:
    """Read `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3); a date is seen from the reply's own `Date`."""
    value = reply.headers.get("retry-after", "")
    if _SECONDS.fullmatch(value):
        return float(value)
    until, now = _date(value), _date(reply.headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max((until - now).total_seconds(), 0.0)


def _date(value: str) -> datetime | None:
    """Read an HTTP date; one without a zone is in UTC."""
    with suppress(ValueError, OverflowError):
        read = parsedate_to_datetime(value)
        return read if read.tzinfo else read.replace(tzinfo=UTC)
    return None


def failure(reply: HttpReply, said: str | None = None) -> ProviderError:
    """Turn a reply that is not a success into the error to raise.

    A 503 counts as refused only when it says when to come back: a proxy that lost its patience sends one, too, while
    the provider behind it works on.

    Args:
        reply: The provider's answer.
        said: The provider's own message when the adapter found one in the body.
    """
    status = reply.status
    default: tuple[ErrorCode, str, str] = ("provider_failed", f"answered HTTP {status}", "Try again later.")
    code, told, hint = _MEANING.get(status, default)
    busy = status == _TOO_MANY or (status == _UNAVAILABLE and "retry-after" in reply.headers)
    unknown = not busy and not _CLIENT_ERROR <= status < _SERVER_ERROR
    delivery: Delivery = "unknown" if unknown else "refused"
    return ProviderError(
        code,
        f"{reply.provider} {told}.",
        provider=reply.provider,
        hint=hint,
        retryable=busy or unknown,
        delivery=delivery,
        retry_after_seconds=retry_after_seconds(reply),
        provider_message=reply.text if said is None else said,
    )
