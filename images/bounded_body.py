"""Reading what a stranger sends: so many bytes at most, and never slower than a floor that no honest server is below.

A timeout for each read alone lets a peer hold a connection for ever with a byte now and then.
"""

from collections.abc import AsyncIterator, Callable

import anyio

MIN_BYTES_PER_SECOND = 1024
"""The floor, averaged over a window; a modem was faster."""


class TooLongError(Exception):
    """More bytes came than are accepted."""


class TooSlowError(Exception):
    """A window passed with fewer bytes than the floor asks for."""


def _nothing(_: bytearray) -> None:
    """Look at nothing."""


async def read_body(
    parts: AsyncIterator[bytes],
    *,
    max_bytes: int,
    window_seconds: float,
    look: Callable[[bytearray], None] = _nothing,
) -> bytes:
    """All that comes.

    Args:
        parts: The body in pieces, as they came over the wire.
        max_bytes: Most bytes.
        window_seconds: In any stretch of this length, `MIN_BYTES_PER_SECOND` on average have to come.
        look: Is shown all that came so far after each piece, and may raise.

    Raises:
        TooLongError: One byte more came.
        TooSlowError: Fewer bytes came.
    """
    content = bytearray()
    goal = MIN_BYTES_PER_SECOND * window_seconds
    with anyio.move_on_after(window_seconds) as window:
        async for part in parts:
            content += part
            if len(content) > max_bytes:
                raise TooLongError
            look(content)
            if len(content) >= goal:
                goal = len(content) + MIN_BYTES_PER_SECOND * window_seconds
                window.deadline = anyio.current_time() + window_seconds
        return bytes(content)
    raise TooSlowError
