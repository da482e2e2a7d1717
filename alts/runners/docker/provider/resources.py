"""Terraform resources of a Docker engine: containers, images and networks."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container as DockerContainer
from docker.types import IPAMConfig, IPAMPool, LogConfig
from tf.iface import Resource
from tf.schema import Schema
from tf.types import Unknown
from tf.utils import Diagnostics

from alts.runners.docker.provider.schemas import container_schema, image_schema, labels_of, network_schema

State = dict[str, Any]
"""A resource's attributes by name. An attribute without a value is None or Unknown."""

_ENGINE_TIMEOUT = 120  # seconds for one response; a loaded engine takes long to start a container
_AFTERTHOUGHT_SECONDS = 5.0  # in which an engine that did not respond may still make the container
_REMOVAL_SECONDS = 30.0  # for a removal that another client has begun
_MEBIBYTE = 1024 * 1024

# Errors of requests and of the socket below it are OSErrors.
_ENGINE_ERRORS = (DockerException, OSError)

log = logging.getLogger(__name__)


class EngineClients:
    """Clients of one Docker engine, one for each thread: the SDK does not promise thread safety."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._local = threading.local()

    @property
    def client(self) -> docker.DockerClient:
        """This thread's client. Raises DockerException if the engine does not answer."""
        if not hasattr(self._local, "client"):
            self._local.client = docker.DockerClient(base_url=self.host, timeout=_ENGINE_TIMEOUT)
        client: docker.DockerClient = self._local.client
        return client


class EngineResource(Resource):  # type: ignore[misc]  # tf is untyped
    """Base of all resources. Errors of the engine become diagnostics, which terraform shows."""

    name: ClassVar[str]
    undone_when_orphaned: ClassVar[bool]
    """Whether to delete an object again if its terraform was killed while it was made."""

    def __init__(self, engine: EngineClients) -> None:
        self.engine = engine

    @classmethod
    def get_name(cls) -> str:
        return cls.name

    def create(self, ctx: Any, planned: State) -> State | None:
        with _reported(ctx):
            return self.make(planned)
        return None

    def read(self, ctx: Any, current: State) -> State | None:
        with _reported(ctx):
            return self.look_up(current)
        return current

    def update(self, ctx: Any, current: State, planned: State) -> State:  # noqa: ARG002 - tf's signature
        # Only attributes about deletion change in place. All others require a replacement.
        return planned

    def delete(self, ctx: Any, current: State) -> State | None:
        with _reported(ctx):
            self.remove(current)
            return None
        return current

    def upgrade(self, ctx: Any, version: int, old: State) -> State:  # noqa: ARG002 - tf's signature
        return old

    def make(self, planned: State) -> State:
        """Make the object completely or not at all. Returns its state. Raises DockerException or OSError."""
        raise NotImplementedError

    def look_up(self, current: State) -> State | None:
        """Return the current state; None if the object is gone. Raises DockerException or OSError."""
        raise NotImplementedError

    def remove(self, current: State) -> None:
        """Remove the object. Ignores a missing object. Raises DockerException or OSError."""
        raise NotImplementedError


@contextlib.contextmanager
def _reported(ctx: Any) -> Iterator[None]:
    try:
        yield
    except _ENGINE_ERRORS as error:
        explanation = error.explanation if isinstance(error, APIError) else None
        ctx.diagnostics.add_error(f"{ctx.type_name}: {type(error).__name__}", str(explanation or error))


class ContainerResource(EngineResource):
    """`docker_container`"""

    name = "container"
    undone_when_orphaned = True

    @classmethod
    def get_schema(cls) -> Schema:
        return container_schema()

    def validate(self, diags: Diagnostics, type_name: str, config: State) -> None:
        super().validate(diags, type_name, config)
        cpus = _known(config, "cpus")
        if cpus is not None and not _is_positive(cpus):
            diags.add_error(f"{type_name}.cpus is not a number of CPUs", f"not a positive number: {cpus}", ["cpus"])

    def make(self, planned: State) -> State:
        container = self._create(planned)
        try:
            for network in (planned.get("networks_advanced") or ())[1:]:
                self.engine.client.networks.get(network["name"]).connect(container, aliases=network.get("aliases"))
            container.start()
            container.reload()
        except _ENGINE_ERRORS:
            _discard(container)
            raise
        return {**planned, "id": container.id, "network_data": _network_data(container)}

    def look_up(self, current: State) -> State | None:
        try:
            container = self.engine.client.containers.get(current["id"])
        except NotFound:
            return None
        # A stopped container stays in the state, as destroy must still remove it.
        running = bool(container.attrs["State"]["Running"])
        return {
            **current,
            "must_run": _known(current, "must_run") if running else False,
            "network_data": _network_data(container),
        }

    def remove(self, current: State) -> None:
        try:
            container = self.engine.client.containers.get(current["id"])
            if grace := _known(current, "destroy_grace_seconds"):
                container.stop(timeout=int(grace))
            container.remove(force=True, v=_known(current, "remove_volumes") is not False)
        except NotFound:
            return
        except APIError as error:
            if error.status_code != 409:
                raise
            # "removal ... is already in progress": the container is there until that removal ends.
            if not self._gone(current["id"]):
                raise

    def _create(self, planned: State) -> DockerContainer:
        client = self.engine.client
        network_mode = _known(planned, "network_mode")
        networks = planned.get("networks_advanced") or ()
        memory, swap, cpus = (_known(planned, name) for name in ("memory", "memory_swap", "cpus"))
        options: dict[str, Any] = {
            "command": _known(planned, "command"),
            "environment": _known(planned, "env"),
            "hostname": _known(planned, "hostname"),
            "init": _known(planned, "init"),
            "labels": labels_of(planned),
            "security_opt": _known(planned, "security_opts"),
            "mem_limit": int(memory) * _MEBIBYTE if memory else None,
            "memswap_limit": int(swap) * _MEBIBYTE if swap else None,
            "nano_cpus": round(float(cpus) * 1e9) if cpus else None,
            "pids_limit": _known(planned, "pids_limit"),
            **_hardening(planned),
        }
        if networks:
            aliases = client.api.create_endpoint_config(aliases=networks[0].get("aliases"))
            options |= {"network": networks[0]["name"], "networking_config": {networks[0]["name"]: aliases}}
        else:
            options["network_mode"] = network_mode
        try:
            return client.containers.create(planned["image"], name=planned["name"], **options)
        except APIError:
            raise  # a response: nothing was made
        except OSError:
            # No response: the engine may have made the container or may still make it.
            self._discard_unanswered(planned)
            raise

    def _discard_unanswered(self, planned: State) -> None:
        labels = labels_of(planned)
        end = time.monotonic() + _AFTERTHOUGHT_SECONDS
        while time.monotonic() < end:
            try:
                found = self.engine.client.containers.get(planned["name"])
            except NotFound:
                time.sleep(0.2)
                continue
            except _ENGINE_ERRORS as error:
                log.warning("the engine does not say whether %s was made: %s", planned["name"], error)
                return
            if labels and labels.items() <= found.labels.items():
                _discard(found)
            return

    def _gone(self, container_id: str) -> bool:
        end = time.monotonic() + _REMOVAL_SECONDS
        while time.monotonic() < end:
            try:
                self.engine.client.containers.get(container_id)
            except NotFound:
                return True
            time.sleep(0.1)
        return False


class ImageResource(EngineResource):
    """`docker_image`: pulled if missing."""

    name = "image"
    # The image may be older than this call, and an unused image does no harm.
    undone_when_orphaned = False

    @classmethod
    def get_schema(cls) -> Schema:
        return image_schema()

    def make(self, planned: State) -> State:
        images = self.engine.client.images
        try:
            image = images.get(planned["name"])
        except ImageNotFound:
            image = images.pull(planned["name"], platform=_known(planned, "platform"))
        return {**planned, "id": f"{image.id}{planned['name']}", "image_id": image.id}

    def look_up(self, current: State) -> State | None:
        try:
            image = self.engine.client.images.get(current["name"])
        except ImageNotFound:
            return None
        return {**current, "id": f"{image.id}{current['name']}", "image_id": image.id}

    def remove(self, current: State) -> None:
        if _known(current, "keep_locally"):
            return
        with contextlib.suppress(ImageNotFound):
            self.engine.client.images.remove(current["name"], force=bool(_known(current, "force_remove")))


class NetworkResource(EngineResource):
    """`docker_network`"""

    name = "network"
    undone_when_orphaned = True

    @classmethod
    def get_schema(cls) -> Schema:
        return network_schema()

    def make(self, planned: State) -> State:
        network = self.engine.client.networks.create(
            planned["name"],
            driver=_known(planned, "driver") or "bridge",
            internal=bool(_known(planned, "internal")),
            options=_known(planned, "options"),
            ipam=_address_pools(planned),
            labels=labels_of(planned),
            check_duplicate=True,
        )
        return {**planned, "id": network.id}

    def look_up(self, current: State) -> State | None:
        try:
            self.engine.client.networks.get(current["id"])
        except NotFound:
            return None
        return current

    def remove(self, current: State) -> None:
        with contextlib.suppress(NotFound):
            self.engine.client.networks.get(current["id"]).remove()


def _known(state: State, name: str) -> Any:
    value = state.get(name)
    return None if value is Unknown else value


def _hardening(planned: State) -> dict[str, Any]:
    """Return the options that limit a container's capabilities, shared memory and log."""
    shm, driver = _known(planned, "shm_size"), _known(planned, "log_driver")
    [capabilities] = planned.get("capabilities") or [{}]
    return {
        "cap_add": _known(capabilities, "add"),
        "cap_drop": _known(capabilities, "drop"),
        "shm_size": int(shm) * _MEBIBYTE if shm else None,
        "log_config": LogConfig(type=driver) if driver else None,
    }


def _address_pools(planned: State) -> IPAMConfig | None:
    """Return a network's address pools; None lets the engine choose."""
    pools = [
        IPAMPool(subnet=block["subnet"], gateway=_known(block, "gateway"))
        for block in planned.get("ipam_config") or ()
        if block.get("subnet")
    ]
    return IPAMConfig(pool_configs=pools) if pools else None


def _is_positive(number: str) -> bool:
    try:
        return float(number) > 0
    except ValueError:
        return False


def _network_data(container: DockerContainer) -> list[dict[str, str]]:
    return [
        {
            "network_name": name,
            "ip_address": network["IPAddress"],
            "gateway": network["Gateway"],
            "mac_address": network["MacAddress"],
        }
        for name, network in sorted(container.attrs["NetworkSettings"]["Networks"].items())
    ]


def _discard(container: DockerContainer) -> None:
    """Remove a half-made container. A failure is only logged, as the first error matters more."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        pass
    except _ENGINE_ERRORS as error:
        log.warning("the half-made container %s stays: %s", container.name, error)
