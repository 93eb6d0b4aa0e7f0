"""The provider branch of the error tree, and how a failed exchange is told.

ControlNetError
└── ProviderError        which provider, whether the request can have been accepted, when to try again
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from controlnet_mcp.foundation.errors import ControlNetError, ErrorCode, ImageError
from controlnet_mcp.foundation.text import quote

Delivery: TypeAlias = Literal["not_sent", "refused", "unknown"]
"""Knowledge about a failed submission: it never left, it was refused before any work, or it may have been accepted."""

_LONGEST_WAIT_SECONDS = 3600.0


class ProviderError(ControlNetError):
    """A provider refused, failed, or could not be reached.

    Attributes:
        provider: Name of the provider.
        delivery: What is known of whether the request was accepted.
        lasting: Whether the answer is expected to stay the same however often the same is asked.
        retry_after_seconds: When the provider asked to come back, 0 to 3600.
        provider_message: The provider's own words, bounded and cleaned.
    """

    def __init__(  # noqa: PLR0913  # a value with named fields; every one is keyword-only
        self,
        code: ErrorCode,
        message: str,
        *,
        provider: str,
        hint: str = "",
        retryable: bool = False,
        delivery: Delivery = "refused",
        lasting: bool | None = None,
        retry_after_seconds: float | None = None,
        provider_message: str = "",
    ) -> None:
        said = quote(provider_message)
        label = said.replace('"', "'")  # nothing of it may seem to stand outside of its quotation marks
        told = f'{message} The provider said: "{label}".' if said else message
        super().__init__(code, told, hint=hint, retryable=retryable)
        self.provider = provider
        self.delivery: Delivery = delivery
        self.lasting = code == "not_found" if lasting is None else lasting
        self.retry_after_seconds: float | None = None
        if retry_after_seconds is not None and retry_after_seconds >= 0:  # NaN is not
            self.retry_after_seconds = min(retry_after_seconds, _LONGEST_WAIT_SECONDS)
        self.provider_message = said


@contextmanager
def told_with(provider: str, delivery: Delivery) -> Generator[None]:
    """Say of an error on this side of the connection what it means for the delivery.

    Raises:
        ProviderError: For any error of ours, with the given delivery.
    """
    try:
        yield
    except ProviderError as error:
        error.delivery = delivery
        raise
    except ControlNetError as error:
        raise ProviderError(
            error.code,
            error.message,
            provider=provider,
            hint=error.hint,
            retryable=error.retryable,
            delivery=delivery,
        ) from error


def undelivered(provider: str, title: str, error: ControlNetError) -> ProviderError:
    """The error of a result that could not be downloaded or decoded, told without advice on inputs.

    Its code is that of the place (`image_blocked`, `not_found`), or `provider_failed`: a page is not the picture that
    was paid for.
    """
    gone = isinstance(error, ImageError) and error.gone
    blocked = error.code == "image_blocked"
    return ProviderError(
        "not_found" if gone else "image_blocked" if blocked else "provider_failed",
        f"The result could not be downloaded from {title}: {error.message}",
        provider=provider,
        hint=error.hint if blocked else f"The history on {title}'s own pages may still show the picture.",
        retryable=error.retryable,
        delivery="unknown",
        lasting=not error.retryable,
    )
