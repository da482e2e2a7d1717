"""Netlink messages to the kernel from within a container's network namespace, sent by this process itself.

That takes a millisecond, and a helper container half a second of processor time. It works if the engine runs on this
host, and this process sees the engine's processes and has CAP_SYS_ADMIN.

By hand: os.setns() is new in Python 3.12.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_AF_INET6 = 10
_FAMILY_AT = 16  # offset of rtm_family, right after the header (rtnetlink(7))
_ERROR_AT = 16  # offset of the error in the kernel's answer (netlink(7), NLMSG_ERROR)
_IPV6 = Path("/proc/thread-self/net/if_inet6")


class CannotEnter(Exception):  # noqa: N818 - what happened
    """This process may not enter the namespace, or does not see the container's process."""


def send(messages: Sequence[bytes], *, pid: int, container: str) -> None:
    """Send messages one by one. Skips those about IPv6 if the namespace has no IPv6.

    `pid`: of the container's first process. `container`: the container's id. Raises CannotEnter, or OSError with the
    kernel's answer.
    """
    failures: list[Exception] = []

    def run() -> None:
        try:
            _enter(pid, container)
            _send(messages)
        except (CannotEnter, OSError) as error:
            failures.append(error)

    # A thread of its own: it stays in the namespace to its end.
    thread = threading.Thread(target=run, name="network-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _enter(pid: int, container: str) -> None:
    """Move this thread into the namespace. Raises CannotEnter."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
            # Looked at after the opening: the number may belong to another process by now, or on the engine's host.
            if container not in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii"):
                raise CannotEnter(f"process {pid} is not the container's")
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise CannotEnter(os.strerror(ctypes.get_errno()))
    except OSError as error:
        raise CannotEnter(str(error)) from error


def _send(messages: Sequence[bytes]) -> None:
    has_ipv6 = _IPV6.exists()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        for message in messages:
            if message[_FAMILY_AT] == _AF_INET6 and not has_ipv6:
                continue
            netlink.send(message)
            (answer,) = struct.unpack_from("i", netlink.recv(4096), _ERROR_AT)
            if answer:
                raise OSError(-answer, os.strerror(-answer))
