"""Rules for the addresses of repositories and keys."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this host (RFC 1122 3.2.1.3)
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the credentials service of most clouds: 169.254.169.254
        "100.100.100.200/32",  # Alibaba's metadata
        "168.63.129.16/32",  # Azure's host
        "192.0.0.192/32",  # Oracle's metadata
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "fe80::/10",
        "fd00:ec2::254/128",  # Amazon's metadata
        "fd20:ce::254/128",  # Google's
        "ff00::/8",
    )
)
"""The default of the key repository_networks_denied. Private networks are allowed, because mirrors live there."""

# inet_aton(3), and so most programs, reads 1 to 4 numbers as an address, each decimal, octal or hexadecimal.
_NUMBERS = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)(?:\.(?:0[xX][0-9a-fA-F]*|[0-9]+)){0,3}\Z")
# RFC 6052 2.1: IPv4 addresses behind a translator.
_TRANSLATED = IPv6Network("64:ff9b::/96")
_COMPATIBLE = IPv6Network("::/96")


@dataclass(frozen=True)
class NetworkRules:
    """An address is denied if a network of `denied` has it and no network of `allowed` has it."""

    denied: tuple[Network, ...] = DENIED
    allowed: tuple[Network, ...] = ()

    def denies(self, address: Address) -> bool:
        """Tell whether the address is denied, itself or the IPv4 address inside it, e.g. that of ::ffff:127.0.0.1."""
        return any(
            _in(reading, self.denied) and not _in(reading, self.allowed) for reading in (address, *_within(address))
        )

    def denies_host(self, host: str) -> bool:
        """Tell whether a URL's host is a denied address, in any spelling, or localhost. Other names are allowed."""
        name = host.lower().rstrip(".")
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 6.3
            return self.denies(IPv4Address("127.0.0.1"))
        address = literal_address(host)
        return address is not None and self.denies(address)


DEFAULT_RULES = NetworkRules()


def literal_address(host: str) -> Address | None:
    """Parse a URL's host as an address: "127.0.0.1", "0x7f.1", "2130706433", "[::1]". Returns None for a name."""
    text = host.strip("[]").rstrip(".")
    try:
        return ip_address(text)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(text)) if _NUMBERS.match(text) else None
    except OSError:
        return None


def _in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _within(address: Address) -> Iterator[Address]:
    """Yield the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _TRANSLATED or (address in _COMPATIBLE and int(address) > 1):
        yield IPv4Address(int(address) & 0xFFFFFFFF)
