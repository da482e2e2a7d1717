"""Subnets for machines: from the pool, and unused."""

from __future__ import annotations

import ipaddress
import random

import pytest

from alts.runners.docker.subnets import free_subnet
from alts.shared.errors import ProvisionFailed

POOL = "10.213.0.0/24"


def test_every_subnet_of_the_pool_is_given_out_once_and_then_it_is_used_up() -> None:
    taken: list[str] = []
    for _ in range(32):
        taken.append(free_subnet(POOL, taken, choose=random.Random(1)))

    assert {ipaddress.ip_network(subnet) for subnet in taken} == set(ipaddress.ip_network(POOL).subnets(new_prefix=29))
    with pytest.raises(ProvisionFailed, match="used up") as refusal:
        free_subnet(POOL, taken)
    assert refusal.value.retryable


def test_what_others_have_is_left_alone_whatever_its_size() -> None:
    taken = ["172.17.0.0/16", "fd00::/64", "10.213.0.0/25", "10.213.0.128/26", "10.213.0.192/27", "10.213.0.224/28"]

    chosen = {free_subnet(POOL, taken, choose=random.Random(seed)) for seed in range(500)}

    assert chosen == {"10.213.0.240/29", "10.213.0.248/29"}


def test_a_pool_inside_another_network_is_used_up() -> None:
    with pytest.raises(ProvisionFailed):
        free_subnet(POOL, ["10.0.0.0/8"])
