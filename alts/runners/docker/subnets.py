"""Subnets for the machines' networks, out of a pool of our own. Pure.

Docker's own pools give some thirty networks, and whatever else runs on the host has a share in them.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable

from alts.shared.errors import ProvisionFailed

PREFIX = 29
"""Of a subnet: a gateway, a machine, and four addresses to spare."""


def free_subnet(pool: str, taken: Iterable[str], *, choose: random.Random | None = None) -> str:
    """A subnet of the pool that none of `taken` overlaps, such as "10.213.7.8/29".

    Any of them, so that workers who share an engine seldom want the same. Raises ProvisionFailed where none is left.
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
    raise ProvisionFailed(f"no network is left for another machine: {pool} is used up")
