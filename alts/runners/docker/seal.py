"""Networks that a container cannot reach, whatever runs in it: routes to nowhere, put there from outside.

A helper joins the container's network, alone has the right to change its routes, and is gone before anything that is
not ours runs. The container itself lacks that right (CAP_NET_ADMIN) and so cannot take the routes away. Netlink
messages, as in rtnetlink(7), need no program that the smallest machine lacks: perl is in every Debian, Python where
there is dnf.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Mapping
from contextlib import closing

from alts.runners.docker.engine import Engine, engine_errors
from alts.shared.errors import InfrastructureError, ProvisionFailed


class NoHelper(InfrastructureError):  # noqa: N818 - what is the matter
    """The machine's image has no program that can change routes."""


SEAL_TIMEOUT = 20
"""Seconds that the engine may be silent, and that the helper may take."""

_RTM_NEWROUTE, _REQUEST_CREATE_REPLACE_ACK = 24, 0x1 | 0x400 | 0x100 | 0x4
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNREACHABLE, _RTA_DST = 254, 4, 0, 7, 1
_FAMILIES = {4: 2, 6: 10}  # AF_INET, AF_INET6

# Sends each message and says the kernel's answer, an errno. Where the machine has no IPv6 there is nothing to deny.
_PERL = r"""
socket(my $s, 16, 3, 0) or die "socket: $!\n";
for (@ARGV) {
    my $message = pack("H*", $_);
    next if ord(substr($message, 16)) == 10 && !-e "/proc/net/if_inet6";
    send($s, $message, 0, pack("SSLL", 16, 0, 0, 0)) or die "send: $!\n";
    recv($s, my $answer, 4096, 0);
    $! = -unpack("x16 l", $answer);
    die "$!\n" if $!;
}
"""
_PYTHON = r"""
import os, socket, struct, sys
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for word in sys.argv[1:]:
    message = bytes.fromhex(word)
    if message[16] == 10 and not os.path.exists("/proc/net/if_inet6"):
        continue
    s.send(message)
    number = -struct.unpack_from("i", s.recv(4096), 16)[0]
    if number:
        sys.exit(os.strerror(number))
"""
_SCRIPT = """
perl=$1 python=$2
shift 2
command -v perl >/dev/null && exec perl -e "$perl" "$@"
for program in python3 /usr/libexec/platform-python python; do
    command -v "$program" >/dev/null && exec "$program" -c "$python" "$@"
done
echo neither perl nor python is in the image
exit 3
"""
_NO_HELPER = 3


def unreachable_route(network: str) -> bytes:
    """The message that makes the kernel refuse whatever goes to the network, such as "169.254.0.0/16"."""
    wanted = ipaddress.ip_network(network)
    address = wanted.network_address.packed
    family = _FAMILIES[wanted.version]
    body = struct.pack(
        "=BBBBBBBBI",
        family,
        wanted.prefixlen,
        0,
        0,
        _RT_TABLE_MAIN,
        _RTPROT_STATIC,
        _RT_SCOPE_UNIVERSE,
        _RTN_UNREACHABLE,
        0,
    )
    body += struct.pack("=HH", 4 + len(address), _RTA_DST) + address
    return struct.pack("=IHHII", 16 + len(body), _RTM_NEWROUTE, _REQUEST_CREATE_REPLACE_ACK, 1, 0) + body


def deny_networks(engine: Engine, container: str, networks: Iterable[str], *, labels: Mapping[str, str]) -> None:
    """Make the networks, and the container's own gateways, unreachable from the container.

    What goes *through* a gateway still does: a route's next hop is looked up in no table.
    `labels`: of the helper, should it be left over. Raises NoHelper, or ProvisionFailed where the engine does not let
    us or the kernel refuses.
    """
    with engine_errors("seal a machine's network"), closing(engine.connect(timeout=SEAL_TIMEOUT)) as client:
        inspected = client.inspect_container(container)
        attached = inspected["NetworkSettings"]["Networks"].values()
        gateways = [one["Gateway"] for one in attached if one["Gateway"]]
        messages = [unreachable_route(network).hex() for network in (*networks, *gateways)]
        host_config = client.create_host_config(
            network_mode=f"container:{container}",
            cap_drop=["ALL"],
            cap_add=["NET_ADMIN"],
            security_opt=["no-new-privileges"],
            mem_limit="256m",
            pids_limit=64,
        )
        made = client.create_container(
            inspected["Image"], _argv(messages), labels=dict(labels), host_config=host_config, user="0"
        )["Id"]
        try:
            client.start(made)
            code = client.wait(made, timeout=SEAL_TIMEOUT)["StatusCode"]
            said = client.logs(made).decode(errors="replace").strip() if code else ""
        finally:
            engine.remove_container(made)
    if code:
        category = NoHelper if code == _NO_HELPER else ProvisionFailed
        raise category("a machine's network cannot be sealed", details=said or f"exit code {code}")


def _argv(messages: list[str]) -> list[str]:
    return ["/bin/sh", "-c", _SCRIPT, "sh", _PERL, _PYTHON, *messages]
