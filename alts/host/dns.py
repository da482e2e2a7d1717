"""Names of hosts: where they lead to, without waiting for a name server that does not answer."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

from alts.core.stop import Stop
from alts.shared.network_rules import Address, literal_address

Resolve = Callable[[str], Sequence[Address]]

_LOOK = 0.1  # seconds between looks at the Stop


def addresses_of(host: str) -> tuple[Address, ...]:
    """What a host's name leads to here, in the order to try; none where it is not known."""
    if (literal := literal_address(host)) is not None:
        return (literal,)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: what cannot be a name, such as "a..b"
        return ()
    # Of a link-local address the part behind % is no part of the address itself.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found))


def look_up(host: str, *, stop: Stop, resolve: Resolve) -> Sequence[Address]:
    """What `resolve` says of a host, for as long as `stop` allows to wait for it. Raises Stopped."""
    stop.check()
    found: list[Sequence[Address]] = []
    # Nothing ends a getaddrinfo: it waits 10 s and more for a silent name server. Its thread is left behind then, and
    # is a daemon because those of an executor are waited for when the process, or an event loop, ends.
    thread = threading.Thread(target=lambda: found.append(resolve(host)), name="look up", daemon=True)
    thread.start()
    while thread.is_alive():
        stop.check()
        thread.join(_LOOK)
    if not found:
        raise RuntimeError(f"a fault in looking up {host!r}: its traceback is in the log of this process")
    return found[0]
