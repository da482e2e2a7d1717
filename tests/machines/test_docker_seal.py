"""No process in a machine can reach the host's metadata service, which knows credentials, or remove the block."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest

from alts.core.stop import Stop
from alts.runners.docker import network_namespace, seal
from alts.runners.docker.engine import Engine
from alts.runners.docker.instance import DockerInstance
from alts.runners.docker.seal import Send, deny_networks, unreachable_route
from alts.shared.config import METADATA_NETWORKS
from alts.shared.errors import InfrastructureError, ProvisionFailed
from tests.support.deb_repository import bridge_address
from tests.support.debian_image import debian_image
from tests.support.leftovers import THIS_RUN
from tests.support.machine import HOST, Machine
from tests.support.tools_image import tools_image

pytestmark = pytest.mark.docker

METADATA = "169.254.169.254"
# Used on hosts that need to reach a real metadata service.
STAND_IN = "169.254.77.77"

KNOCK = "exit(IO::Socket::INET->new(PeerAddr => shift, PeerPort => shift, Timeout => 3) ? 0 : 4)"
# Removes the unreachable route, as an attacker would: RTM_DELROUTE is 25.
REMOVE_ROUTE = r"""
socket(my $s, 16, 3, 0) or die;
my $body = pack("C8 L", 2, 16, 0, 0, 254, 0, 0, 0, 0) . pack("S S", 8, 1) . pack("C4", 169, 254, 0, 0);
send($s, pack("L S S L L", 16 + length $body, 25, 5, 1, 0) . $body, 0, pack("SSLL", 16, 0, 0, 0)) or die;
recv($s, my $answer, 4096, 0);
print -unpack("x16 l", $answer), "\n";
"""
EPERM = "1"


class Quiet(http.server.BaseHTTPRequestHandler):
    """Handle no method: an accepted connection is enough."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def listening(address: str) -> Iterator[int]:
    """Run an HTTP server at the address. Yield its port."""
    server = http.server.ThreadingHTTPServer((address, 0), Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def metadata() -> Iterator[str]:
    """Add a link-local address to this host's loopback interface. Yield the address."""
    routed = subprocess.run(["ip", "route", "get", METADATA], capture_output=True, text=True, check=False).stdout
    address = STAND_IN if "link" in routed or f"{METADATA} dev" in routed else METADATA
    subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
    yield address
    subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(HOST)
    yield engine
    engine.close()


def cannot_enter(messages: Sequence[bytes], *, pid: int, container: str) -> None:
    """Enter no network namespace, as a worker in a container. A helper is needed then."""
    raise network_namespace.CannotEnter


EITHER_WAY = pytest.mark.parametrize("send", [network_namespace.send, cannot_enter], ids=["from here", "by a helper"])


def reaches(instance: DockerInstance, address: str, port: int) -> bool:
    return instance.run(["perl", "-MIO::Socket", "-e", KNOCK, address, str(port)], stop=Stop(20)).ok


def gateway_of(name: str) -> str:
    client = docker.DockerClient(base_url=HOST)
    try:
        networks = client.api.inspect_container(name)["NetworkSettings"]["Networks"]
        return str(next(iter(networks.values()))["Gateway"])
    finally:
        client.close()


@EITHER_WAY
def test_a_sealed_machine_does_not_reach_the_metadata_service_and_an_open_one_does(
    metadata: str, engine: Engine, send: Send
) -> None:
    with Machine(debian_image()) as machine, listening(metadata) as port:
        assert reaches(machine.instance, metadata, port)

        deny_networks(engine, machine.name, METADATA_NETWORKS, labels={}, send=send)

        assert not reaches(machine.instance, metadata, port)
        removal = machine.instance.run(["perl", "-e", REMOVE_ROUTE], stop=Stop(10))
        assert removal.output.strip() == EPERM
        assert not reaches(machine.instance, metadata, port)


@EITHER_WAY
def test_a_sealed_machine_reaches_the_world_through_its_gateway_but_not_the_gateway(engine: Engine, send: Send) -> None:
    with Machine(debian_image()) as machine, listening("0.0.0.0") as port:
        gateway = gateway_of(machine.name)
        assert reaches(machine.instance, gateway, port)

        deny_networks(engine, machine.name, METADATA_NETWORKS, labels={}, send=send)

        assert not reaches(machine.instance, gateway, port)
        assert machine.instance.run(["getent", "hosts", "deb.debian.org"], stop=Stop(20)).ok


def test_what_is_not_denied_stays_in_reach(engine: Engine) -> None:
    client = docker.DockerClient(base_url=HOST)
    network = client.networks.create(f"alts-test-{uuid.uuid4().hex[:8]}", labels=dict(THIS_RUN))
    try:
        with Machine(debian_image()) as machine, listening(bridge_address()) as port:
            client.networks.get("bridge").disconnect(machine.name)
            network.connect(machine.name)

            deny_networks(engine, machine.name, METADATA_NETWORKS, labels={})
            assert reaches(machine.instance, bridge_address(), port)

            deny_networks(engine, machine.name, (f"{bridge_address()}/32",), labels={})
            assert not reaches(machine.instance, bridge_address(), port)
    finally:
        network.remove()
        client.close()


def test_this_host_needs_no_helper_and_no_program_in_the_image(engine: Engine) -> None:
    with tools_image() as image, Machine(image) as machine, closing(docker.from_env()) as client:
        pid = client.api.inspect_container(machine.name)["State"]["Pid"]

        # A helper would find neither perl nor python.
        deny_networks(engine, machine.name, METADATA_NETWORKS, labels={})

        # 169.254.0.0 with the address's bytes in reverse.
        assert "\t0000FEA9\t" in Path(f"/proc/{pid}/net/route").read_text()


def test_a_process_of_another_container_is_not_taken_for_the_machine_s() -> None:
    with pytest.raises(network_namespace.CannotEnter, match="not the container's"):
        network_namespace.send([], pid=os.getpid(), container="0" * 64)


@EITHER_WAY
def test_a_kernel_that_refuses_is_no_seal(engine: Engine, send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    def nonsense(network: str) -> bytes:
        message = bytearray(unreachable_route(network))
        message[17] = 99  # the length of the prefix in bits
        return bytes(message)

    monkeypatch.setattr(seal, "unreachable_route", nonsense)
    with Machine(debian_image()) as machine, pytest.raises(ProvisionFailed, match="cannot be blocked"):
        deny_networks(engine, machine.name, METADATA_NETWORKS, labels={}, send=send)


def test_an_image_without_perl_and_python_is_said_and_the_helper_is_gone(engine: Engine) -> None:
    label = {"alts.task": "alts-test-seal"}
    with (
        tools_image() as image,
        Machine(image) as machine,
        pytest.raises(InfrastructureError, match="cannot be blocked") as caught,
    ):
        deny_networks(engine, machine.name, METADATA_NETWORKS, labels=label, send=cannot_enter)

    assert "neither perl nor python" in caught.value.details
    assert engine.containers(label) == ()
