"""DNS lookup that can be stopped while a name server does not answer."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Sequence

from alts.core.stop import Stop
from alts.shared.network_rules import Address, literal_address

Resolve = Callable[[str], Sequence[Address]]

_LOOK = 0.1  # seconds between checks of the Stop


def addresses_of(host: str) -> tuple[Address, ...]:
    """Resolve a host name. Returns addresses in the order to try; empty if unknown."""
    if (literal := literal_address(host)) is not None:
        return (literal,)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # UnicodeError: an invalid name, e.g. "a..b"
        return ()
    # Drop the zone after % of a link-local address.
    return tuple(dict.fromkeys(ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found))


def look_up(host: str, *, stop: Stop, resolve: Resolve) -> Sequence[Address]:
    """Call `resolve` for a host and wait until `stop`. Raises Stopped, or RuntimeError if `resolve` raised."""
    stop.check()
    found: list[Sequence[Address]] = []
    # getaddrinfo cannot be cancelled and waits 10 s and more for a silent name server. Its thread is then abandoned.
    # It is a daemon thread, as process exit waits for executor threads.
    thread = threading.Thread(target=lambda: found.append(resolve(host)), name="look up", daemon=True)
    thread.start()
    while thread.is_alive():
        stop.check()
        thread.join(_LOOK)
    if not found:
        raise RuntimeError(f"a fault in looking up {host!r}: its traceback is in the log of this process")
    return found[0]
