"""Where the pictures of this process are decoded: in it, or, when it serves others, in workers that may die of one.

Decoding is the only step that runs large native code on bytes of strangers, so it goes through this one door: a picture
that a caller passed, a result, its preview, its copy for a message and its control map. Cheap to import.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from controlnet_mcp.images.pictures import Limits

if TYPE_CHECKING:
    from controlnet_mcp.images.maps.arrays import Rgb

Decoder: TypeAlias = "Callable[[bytes, Limits], Rgb]"
"""As `controlnet_mcp.images.pixels.pixels_of`; it blocks, and is called in worker threads."""


def _here(content: bytes, limits: Limits) -> "Rgb":
    from controlnet_mcp.images.pixels import pixels_of

    return pixels_of(content, limits)


_chosen: list[Decoder] = [_here]


def the_decoder() -> Decoder:
    """The decoder in force: a property of the process, as its memory is, and so no argument of thirty functions."""
    return _chosen[-1]


@contextmanager
def decoding_by(decoder: Decoder) -> Generator[None]:
    """Have every picture decoded by `decoder` while the block lasts; blocks may be nested, not interleaved."""
    _chosen.append(decoder)
    try:
        yield
    finally:
        _chosen.remove(decoder)
