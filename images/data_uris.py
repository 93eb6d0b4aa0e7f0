"""`data:` URIs (RFC 2397), read tolerantly but never beyond the limit. What type they claim is ignored."""

import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

from controlnet_mcp.images.errors import RequestError
from controlnet_mcp.images.pictures import too_large

_BASE64 = re.compile(r"[A-Za-z0-9+/=_\-\s]+")
_SHORTEST_BASE64 = 48
# The first base64 digits of the signatures of PNG, JPEG, WebP, GIF and BMP.
_PICTURE_STARTS = {
    "iVBORw0KGgo": "png",
    "/9j/": "jpeg",
    "UklGR": "webp",
    "R0lGOD": "gif",
    "Qk": "bmp",
}
_LONGEST_PATH = 4096
_URL_SAFE = str.maketrans("-_", "+/")


def read_data_uri(uri: str, max_bytes: int) -> bytes:
    """The bytes of a `data:` URI: base64 (with or without padding, spaces and URL-safe digits) or percent-encoded.

    Raises:
        RequestError: `invalid_request`: there is no comma, or the base64 is broken.
        ImageError: `image_unreadable`: more than `max_bytes`; told before anything is decoded.
    """
    header, comma, body = uri.partition(":")[2].partition(",")
    if not comma:
        raise _malformed("there is no comma after its type")
    in_base64 = header.lower().rstrip().endswith(";base64")
    longest = max_bytes * (4 if in_base64 else 3)  # every byte as %XX, or each base64 digit of four so
    if len(body) > longest:
        raise too_large(max_bytes)
    content = _from_base64(body) if in_base64 else unquote_to_bytes(body)
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def missing_prefix(text: str) -> str | None:
    """The prefix that would make a `data:` URI of bare base64; `None` where the text is something else, like a path."""
    if len(text) < _SHORTEST_BASE64 or not _BASE64.fullmatch(text):
        return None
    kind = next((kind for start, kind in _PICTURE_STARTS.items() if text.startswith(start)), None)
    if kind is None and len(text) <= _LONGEST_PATH:
        return None
    return f"data:image/{kind or 'png'};base64,"


def _from_base64(body: str) -> bytes:
    digits = "".join(unquote(body).split()).rstrip("=").translate(_URL_SAFE)
    try:
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except ValueError as error:
        raise _malformed("its base64 is cut off or holds other characters") from error


def _malformed(why: str) -> RequestError:
    return RequestError(
        "invalid_request",
        f"The data: URI cannot be read: {why}.",
        hint="Write it as data:image/png;base64,<all of the base64>; better, pass a link or a file.",
    )
