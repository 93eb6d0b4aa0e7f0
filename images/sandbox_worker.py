"""The program of a decoding worker: it reads pictures from stdin and writes their pixels to stdout.

It holds nothing that is worth stealing: no key in its environment, no file but its three pipes. Before each picture it
bounds its own memory and CPU time where the system can (POSIX; macOS accepts the bound on memory without enforcing it;
Windows has neither, so there the pixel limit and the parent's clock are what holds). The parent trusts nothing that
comes back. Start it with `python -m controlnet_mcp.images.sandbox_worker`.
"""

import importlib
import mmap
import signal
import struct
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from controlnet_mcp.foundation.errors import ImageError
from controlnet_mcp.foundation.limits import Limits

ASKED = struct.Struct(">QQQQ")
"""Before a picture: its length, the limits in bytes and pixels, and the seconds of CPU time that it may take."""
ANSWERED = struct.Struct(">BII")
"""Before an answer: the form of the pixels with height and width, or `REFUSED` with the lengths of message and hint in
UTF-8."""
PIXELS, REFUSED, PIXELS_AND_ALPHA, DEEP_VALUES = 0, 1, 2, 3
FORMS: Mapping[int, tuple[tuple[int, ...], str]] = {
    PIXELS: ((3,), "|u1"),
    PIXELS_AND_ALPHA: ((4,), "|u1"),
    DEEP_VALUES: ((), "<f4"),
}
"""Form of pixels to the shape of one of them and the type of its values; see `controlnet_mcp.images.maps.arrays`."""

BYTES_PER_PIXEL = 32
"""Bound of the memory for one pixel: the worst picture measured (WebP with alpha, on its side) takes 27."""
_FIXED_BYTES = 64 * 1024 * 1024
_UNKNOWN_BASE_BYTES = 768 * 1024 * 1024
"""Address space of the interpreter and its libraries, before any picture, where the system does not tell it."""
LOCKED: Mapping[str, int] = {"NOFILE": 3, "NPROC": 0, "CORE": 0}
"""No new files or sockets besides the three pipes, no child processes and core dumps."""


def main() -> None:
    """Decode pictures until stdin ends; one that breaks the bounds ends the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    warnings.simplefilter("ignore")  # nobody would read them
    for name in ("PIL.ImagePalette", "PIL.TiffImagePlugin"):  # Pillow imports both only when a picture needs them
        importlib.import_module(name)
    from controlnet_mcp.images.pillow_decoder import pixels_of  # all before the lock: no file can be opened after it

    asked, answered = sys.stdin.buffer, sys.stdout.buffer
    base_bytes = _UNKNOWN_BASE_BYTES
    with suppress(OSError, ValueError):  # only Linux tells
        base_bytes = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * mmap.PAGESIZE
    _bound(LOCKED, for_good=True)
    while header := asked.read(ASKED.size):
        length, max_bytes, max_pixels, cpu_seconds = ASKED.unpack(header)
        limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels)
        memory_bytes = base_bytes + _FIXED_BYTES + 2 * max_bytes + BYTES_PER_PIXEL * max_pixels
        _bound({"AS": memory_bytes, "CPU": int(time.process_time()) + 1 + cpu_seconds}, for_good=False)
        content = asked.read(length)
        try:
            pixels = pixels_of(content, limits)
        except ImageError as error:
            message, hint = error.message.encode(), error.hint.encode()
            answered.write(ANSWERED.pack(REFUSED, len(message), len(hint)) + message + hint)
        else:
            form = next(form for form, (shape, _) in FORMS.items() if shape == pixels.shape[2:])
            answered.write(ANSWERED.pack(form, *pixels.shape[:2]))
            answered.write(pixels.data)
            del pixels
        answered.flush()


def _bound(bounds: Mapping[str, int], *, for_good: bool) -> None:
    """Bound resources by their `RLIMIT_` names, where the system can; unless for good, a later bound may be higher."""
    if sys.platform != "win32":
        import resource

        for name, most in bounds.items():
            with suppress(OSError, ValueError):
                highest = most if for_good else resource.RLIM_INFINITY
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, highest))


if __name__ == "__main__":
    main()
