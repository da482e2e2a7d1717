"""Subnet allocation for machine networks from our own pool. Pure.

Docker's default pools hold about thirty networks, shared with everything else on the host.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable

from alts.shared.errors import ProvisionFailed

PREFIX = 29
"""Prefix length of a subnet: room for a gateway, a machine and four more addresses."""


def free_subnet(pool: str, taken: Iterable[str], *, choose: random.Random | None = None) -> str:
    """Choose a subnet of the pool that overlaps none of `taken`, e.g. "10.213.7.8/29".

    Starts at a random one, so workers on the same engine rarely collide. Raises ProvisionFailed if none is free.
    """
    whole = ipaddress.IPv4Network(pool)
    others = [network for network in map(ipaddress.ip_network, taken) if isinstance(network, ipaddress.IPv4Network)]
    near = [network for network in others if network.overlaps(whole)]
    size = 1 << (32 - PREFIX)
    count = whole.num_addresses // size
    first = (choose or random.SystemRandom()).randrange(count)
    for number in (*range(first, count), *range(first)):
        subnet = ipaddress.IPv4Network((int(whole.network_address) + number * size, PREFIX))
        if not any(subnet.overlaps(network) for network in near):
            return str(subnet)
    raise ProvisionFailed(f"no network is free for another machine: {pool} is used up")
