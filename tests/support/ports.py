"""Free ports of this host."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

_LOWEST = 10_000
_DYNAMIC = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return different ports of 127.0.0.1 that were free a moment ago.

    None is in the kernel's range for outgoing connections, because another process would soon get it (ip(7)).
    """
    dynamic = int(_DYNAMIC.read_text().split()[0]) if _DYNAMIC.exists() else 32_768
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            one = held.enter_context(socket.socket())
            with suppress(OSError):  # it is in use
                one.bind(("127.0.0.1", random.randrange(_LOWEST, dynamic)))
                found.append(one.getsockname()[1])
    return found


def answers(port: int) -> bool:
    """Whether a server accepts connections on that port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
