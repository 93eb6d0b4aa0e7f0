"""The values that stand for a picture: what is stored, and how much of one is accepted.

`ImageError` codes: `image_blocked` is about where a picture is (it may not be read from there), `image_unreadable` is
about what it is (missing, too large, broken, not a picture).
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from controlnet_mcp.images.errors import ImageError

StoredType: TypeAlias = Literal["image/png", "image/jpeg", "image/webp"]
"""The MIME types that the blob store holds."""

EXTENSIONS: dict[StoredType, str] = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""File name extension of each stored type; never taken from a caller's text."""


class StoredPicture(BaseModel):
    """A picture in the blob store, as it is written into the job's record.

    Attributes:
        sha256: SHA-256 of the stored bytes, 64 lower-case hexadecimal digits; the key in the blob store.
        mime_type: What the stored bytes are.
        width: Width in pixels, after the orientation of the camera was applied.
        height: Height in pixels, likewise.
        size_bytes: Length of the stored bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    mime_type: StoredType
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    size_bytes: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a picture is accepted before anything is decoded or allocated.

    Attributes:
        max_bytes: Longest file, download or `data:` URI, in bytes as they arrive.
        max_pixels: Most pixels (width times height) of a picture that is decoded.
        fetch_timeout_seconds: Longest time for a download, redirects included.
        max_redirects: Most redirects that a download follows.
        stall_seconds: The window in which a download must keep to its lowest speed (`images.bounded_body`).
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 40_000_000
    fetch_timeout_seconds: float = 20.0
    max_redirects: int = 3
    stall_seconds: float = 15.0


def too_large(max_bytes: int) -> ImageError:
    """The refusal of a picture that is longer than `max_bytes`."""
    return ImageError(
        "image_unreadable",
        f"The picture is larger than the limit of {max_bytes:,} bytes.",
        hint="Save it smaller, for example as JPEG or with fewer pixels, and pass that.",
    )
