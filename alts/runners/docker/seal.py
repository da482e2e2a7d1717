"""Network isolation of a container: unreachable routes, set from outside.

The routes are set by netlink messages (rtnetlink(7)) before any foreign code runs. The container itself lacks
CAP_NET_ADMIN, so it cannot delete them. If this process cannot enter the container's network namespace, a helper
container with CAP_NET_ADMIN joins it. The helper needs only perl (in every Debian) or Python (wherever dnf is).

By hand: pyroute2 would have to be installed in the machine.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

from alts.runners.docker import network_namespace
from alts.runners.docker.engine import Engine
from alts.runners.docker.errors import engine_errors
from alts.shared.errors import InfrastructureError, ProvisionFailed


class NoHelper(InfrastructureError):  # noqa: N818 - the name states the problem
    """The machine's image has neither perl nor Python to set routes with."""


class Send(Protocol):
    """See alts.runners.docker.network_namespace.send."""

    def __call__(self, messages: Sequence[bytes], *, pid: int, container: str) -> None: ...


SEAL_TIMEOUT = 20
"""Seconds: limit for the engine's silence and for the helper's run."""

_RTM_NEWROUTE, _REQUEST_CREATE_REPLACE_ACK = 24, 0x1 | 0x400 | 0x100 | 0x4
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNREACHABLE, _RTA_DST = 254, 4, 0, 7, 1
_FAMILIES = {4: 2, 6: 10}  # AF_INET, AF_INET6

# Sends each message and reports the errno in the kernel's response. Skips IPv6 routes on a machine without IPv6.
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
    """Build the netlink message for an unreachable route to a network, e.g. "169.254.0.0/16". Raises ValueError."""
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


def deny_networks(
    engine: Engine,
    container: str,
    networks: Iterable[str],
    *,
    labels: Mapping[str, str],
    send: Send = network_namespace.send,
) -> None:
    """Make the networks and the container's own gateways unreachable from the container.

    Traffic *through* a gateway still works: the kernel looks up a route's next hop in no table.
    `labels`: for the helper, so a leftover is found. `send`: sends messages from this process.
    Raises NoHelper, or ProvisionFailed if the engine or the kernel refuses.
    """
    with engine_errors("seal a machine's network"), closing(engine.connect(timeout=SEAL_TIMEOUT)) as client:
        inspected = client.inspect_container(container)
        attached = inspected["NetworkSettings"]["Networks"].values()
        gateways = [one["Gateway"] for one in attached if one["Gateway"]]
        messages = [unreachable_route(network) for network in (*networks, *gateways)]
        if _sent_from_here(send, messages, inspected):
            return
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
        raise category("the denied networks cannot be blocked", details=said or f"exit code {code}")


def _sent_from_here(send: Send, messages: Sequence[bytes], inspected: Mapping[str, Any]) -> bool:
    """Send the messages. Returns False if this process cannot. Raises ProvisionFailed if the kernel refuses."""
    try:
        send(messages, pid=inspected["State"]["Pid"], container=inspected["Id"])
    except network_namespace.CannotEnter:
        return False
    except OSError as error:
        raise ProvisionFailed("the denied networks cannot be blocked", details=str(error)) from error
    return True


def _argv(messages: Iterable[bytes]) -> list[str]:
    return ["/bin/sh", "-c", _SCRIPT, "sh", _PERL, _PYTHON, *(one.hex() for one in messages)]
