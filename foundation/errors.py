"""The one error tree of the project; every layer above adds no class of its own but `ProviderError`.

ControlNetError          what happened, for whom, whether a retry can help, what to do next
├── RequestError         the caller's arguments: invalid_request, unsupported, not_found
├── ImageError           a picture: image_unreadable, image_blocked
│   └── UnreachedError   a link that another place may reach: image_unreadable
├── StorageError         the data folder: not_configured (read-only, full, corrupt)
└── ProviderError        a provider, see `controlnet_mcp.providers.errors`
"""

from typing import Literal, TypeAlias

from controlnet_mcp.foundation.text import bounded, bounded_hint

ErrorCode: TypeAlias = Literal[
    "invalid_request",
    "unsupported",
    "image_unreadable",
    "image_blocked",
    "not_configured",
    "unauthorized",
    "payment_required",
    "rate_limited",
    "moderated",
    "provider_failed",
    "timed_out",
    "not_found",
    "canceled",
]


class ControlNetError(Exception):
    """A failure in sentences that a language model and its user can act on, less than 4 kB of them.

    Attributes:
        code: The closed code that programs branch on.
        message: One sentence: what happened.
        hint: One sentence: what to do next.
        retryable: Whether the same call can succeed later without a change.
    """

    def __init__(self, code: ErrorCode, message: str, *, hint: str = "", retryable: bool = False) -> None:
        self.code: ErrorCode = code
        self.message = bounded(message)
        self.hint = bounded_hint(hint)
        super().__init__(self.message)
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class RequestError(ControlNetError):
    """The arguments of a call cannot be honoured as they stand."""


class ImageError(ControlNetError):
    """A picture cannot be read, or may not be read.

    Attributes:
        gone: Whether a host said that nothing is there (HTTP 404 or 410).
    """

    gone: bool = False


class UnreachedError(ImageError):
    """A link that could not be followed from this machine; from another place it may open."""


class StorageError(ControlNetError):
    """The data folder cannot be read or written."""
