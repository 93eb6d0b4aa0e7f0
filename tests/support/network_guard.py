"""Nothing of a test leaves this machine: an audit hook that refuses it, and remembers what was refused.

The hook sees every way of Python to the network (PEP 578), whatever library takes it, and cannot be taken off again. It
does not see into a process that a test starts, nor the look-up inside `socket.connect((name, port))`, which no library
does; for both there is the second belt, the empty network namespace of `.ci/run`.
"""

import ipaddress
import socket
import sys
from contextlib import suppress
from typing import cast

WATCHED = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"})
LOOKED_UP = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})

refused: list[str] = []
"""What was tried, for the end of the session: a test may have swallowed the exception."""


class LeftTheMachineError(RuntimeError):
    """A test dialled, sent or asked a name server; not an `OSError`, so that nobody takes it for a network error."""


def watch() -> None:
    """Refuse everything but loopback, from now on until the process ends."""
    sys.addaudithook(_hook)


def is_here(host: object) -> bool:
    """Whether to dial, bind or look up a host leaves the machine neither now nor later."""
    text = _text(host)
    if text in {"", "localhost", "localhost."}:
        return True
    address = _address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address is not None and (mapped or address).is_loopback


def is_no_question(host: object) -> bool:
    """Whether a look-up asks no name server: of this machine, or of an address in whatever spelling."""
    return is_here(host) or _address(_text(host)) is not None


def _text(host: object) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with suppress(ValueError):
        return ipaddress.ip_address(text.partition("%")[0])
    with suppress(OSError):
        return ipaddress.IPv4Address(socket.inet_aton(text))  # 0x7f.1 and its like
    return None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in LOOKED_UP:
        allowed, what = is_no_question(arguments[0]), arguments[0]
    elif event in WATCHED:
        what = arguments[1] if len(arguments) > 1 else None
        address = cast("tuple[object, ...]", what) if isinstance(what, tuple) else ()
        allowed = not address or is_here(address[0])  # else a path, or a socket that is connected
    else:
        return
    if not allowed:
        refused.append(f"{event} {what!r}")
        raise LeftTheMachineError(f"{event} {what!r}")
