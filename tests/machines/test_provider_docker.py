"""Images and networks of the embedded provider, with the real terraform and the real engine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from alts.core.stop import Stop
from alts.provisioning.terraform.cli import Terraform, find_terraform
from alts.runners.docker.provider.process import ProviderProcess
from alts.shared.errors import ProvisionFailed
from tests.support.engine_proxy import ENGINE
from tests.support.leftovers import THIS_RUN
from tests.support.tools_image import tools_image

pytestmark = pytest.mark.docker

HOST = f"unix://{ENGINE}"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with tools_image() as image_id:
        yield image_id


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=HOST)
    yield client
    client.close()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    provider = ProviderProcess(tmp_path_factory.mktemp("provider"), docker_host=HOST)
    yield provider
    provider.close()


@pytest.fixture
def terraform(tmp_path: Path, provider: ProviderProcess) -> Terraform:
    folder = tmp_path / "module"
    folder.mkdir()
    return Terraform(
        folder,
        executable=find_terraform(None, folder=tmp_path),
        environment=provider.environment(Stop(60)),
        sink=lambda text: None,
    )


POOL = {"subnet": "10.214.255.240/29", "gateway": "10.214.255.246"}


def write_module(terraform: Terraform, resources: object, outputs: dict[str, str] | None = None) -> None:
    module: dict[str, object] = {
        "terraform": {"required_providers": {"docker": {"source": "registry.terraform.io/kreuzwerker/docker"}}},
        "resource": resources,
    }
    if outputs:
        module["output"] = {name: {"value": value} for name, value in outputs.items()}
    (terraform.folder / "main.tf.json").write_text(json.dumps(module))
    terraform.initialise(Stop(60))


def test_containers_on_a_network_of_their_own(terraform: Terraform, engine: docker.DockerClient, image: str) -> None:
    name = f"alts-test-{uuid.uuid4().hex[:8]}"
    wanted = {"alts.task": name, **THIS_RUN}
    labels = [{"label": label, "value": value} for label, value in wanted.items()]
    write_module(
        terraform,
        {
            "docker_network": {"net": {"name": name, "internal": True, "labels": labels, "ipam_config": POOL}},
            "docker_container": {
                "machine": {
                    "name": name,
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "labels": labels,
                    "networks_advanced": [{"name": "${docker_network.net.name}", "aliases": ["machine"]}],
                }
            },
        },
        {"network": "${docker_network.net.id}", "data": "${docker_container.machine.network_data}"},
    )

    outputs = terraform.create({}, Stop(60))

    network = engine.networks.get(str(outputs["network"]))
    networks = engine.containers.get(name).attrs["NetworkSettings"]["Networks"]
    assert (network.attrs["Internal"], network.attrs["Labels"]) == (True, wanted)
    [pool] = network.attrs["IPAM"]["Config"]
    assert {name.lower(): value for name, value in pool.items()} == POOL
    assert list(networks) == [name]
    assert "machine" in networks[name]["Aliases"]
    assert outputs["data"] == [
        {
            "network_name": name,
            "ip_address": networks[name]["IPAddress"],
            "gateway": networks[name]["Gateway"],
            "mac_address": networks[name]["MacAddress"],
        }
    ]

    terraform.remove(Stop(60))

    assert engine.networks.list(names=[name]) == []
    assert engine.containers.list(all=True, filters={"name": name}) == []


@pytest.mark.parametrize("keep", [False, True], ids=["removed", "kept"])
def test_an_image_that_is_there_is_used_and_goes_unless_it_is_to_be_kept(
    terraform: Terraform, engine: docker.DockerClient, image: str, keep: bool
) -> None:
    reference = f"alts-test-{uuid.uuid4().hex[:8]}:latest"
    engine.images.get(image).tag(*reference.split(":"))
    write_module(
        terraform,
        {"docker_image": {"base": {"name": reference, "keep_locally": keep}}},
        {"image_id": "${docker_image.base.image_id}"},
    )

    assert terraform.create({}, Stop(60)) == {"image_id": image}
    terraform.remove(Stop(60))

    if keep:
        engine.images.remove(reference)
    with pytest.raises(ImageNotFound):
        engine.images.get(reference)


def test_an_image_that_cannot_be_pulled_is_told(terraform: Terraform) -> None:
    # No server listens on port 9, "discard".
    write_module(terraform, {"docker_image": {"base": {"name": "localhost:9/nothing:latest"}}})

    with pytest.raises(ProvisionFailed) as caught:
        terraform.create({}, Stop(60))

    assert "docker_image" in caught.value.details
    assert "rpc error" not in caught.value.details


@pytest.mark.parametrize("cpus", ["many", "0", "-1", "nan"])
def test_cpus_that_are_no_number_are_refused_before_anything_is_made(terraform: Terraform, cpus: str) -> None:
    write_module(terraform, {"docker_container": {"machine": {"name": "x", "image": "y", "cpus": cpus}}})

    with pytest.raises(ProvisionFailed) as caught:
        terraform.create({}, Stop(60))

    assert "cpus is not a number of CPUs" in caught.value.details
