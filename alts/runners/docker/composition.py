"""Builds a Docker runner from the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alts.core.instance import InstanceFile
from alts.images.factory import image_resolver
from alts.images.prepared import Preparation, PreparedImages
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.provisioning.terraform.cli import find_terraform
from alts.runners.docker.build import DockerBuilds
from alts.runners.docker.engine import Engine
from alts.runners.docker.inventory import WORKER_LABEL, Inventory
from alts.runners.docker.module import DockerModule, DockerSettings
from alts.runners.docker.provider.process import ProviderProcess
from alts.runners.docker.runner import DockerRunner
from alts.runners.terraform import FilesFor, TerraformMachines
from alts.shared.config import Config
from alts.shared.models.platform import Platform
from alts.shared.models.repository import Repository


@dataclass(frozen=True)
class DockerParts:
    """The parts of a Docker runner."""

    engine: Engine
    inventory: Inventory
    provider: ProviderProcess | None
    module: DockerModule
    files_for: FilesFor


def docker_runner(config: Config, *, worker: str, folder: Path) -> DockerRunner:
    """Return the runner that the configuration describes. `folder` holds its provider's socket and log.

    Raises ConfigurationError if there is no terraform.
    """
    return runner_of(docker_parts(config, worker=worker, folder=folder), config, folder=folder)


def docker_parts(
    config: Config,
    *,
    worker: str,
    folder: Path,
    engine: Engine | None = None,
    files_for: FilesFor | None = None,
) -> DockerParts:
    """Return the parts of a runner.

    `engine`: by default the one at the configured address. `files_for`: the files that a machine needs for a task; by
    default those of its package manager.
    """
    files_for = files_for or _files_for
    engine = engine or Engine(config.docker_host)
    inventory = Inventory(engine, worker=worker)
    embedded = config.docker_provider == "embedded"
    provider = ProviderProcess(folder, docker_host=config.docker_host) if embedded else None
    builds = DockerBuilds(engine)
    images = image_resolver(config, engine, builds)
    prepared = None
    if config.repository_max_age:
        # So often that a machine which waits in a pool still has lists that may be used.
        renew_after = config.repository_max_age / 2
        locks = config.cache_folder / "images"
        preparation = partial(_preparation, files_for)
        prepared = PreparedImages(
            engine, builds, preparation, renew_after=renew_after, folder=locks, labels={WORKER_LABEL: worker}
        )
    module = DockerModule(
        docker_settings(config), engine, inventory, images=images, prepared=prepared, provider=provider
    )
    return DockerParts(engine, inventory, provider, module, files_for)


def runner_of(parts: DockerParts, config: Config, *, folder: Path) -> DockerRunner:
    """Return a runner of these parts. Raises ConfigurationError if there is no terraform."""
    lifecycle = TerraformMachines(
        parts.module,
        terraform=find_terraform(config.terraform, folder=folder),
        files_for=parts.files_for,
        networks=config.repository_networks,
    )
    return DockerRunner(lifecycle, parts.inventory, parts.engine, parts.provider)


def docker_settings(config: Config) -> DockerSettings:
    """Return the part of the configuration that Docker machines depend on."""
    return DockerSettings(
        docker_host=config.docker_host,
        limits=config.instance_limits,
        network_pool=config.instance_network_pool,
        networks_denied=config.instance_networks_denied,
        allow_emulation=config.allow_emulation,
        provider_version=None if config.docker_provider == "embedded" else config.docker_provider_version,
    )


def _preparation(files_for: FilesFor, platform: Platform) -> Preparation:
    packages = PACKAGE_MANAGERS[platform.release.tool]
    return Preparation(files_for(platform, ()), packages.refresh_argv(), packages.environment)


def _files_for(platform: Platform, repositories: Sequence[Repository]) -> Sequence[InstanceFile]:
    return PACKAGE_MANAGERS[platform.release.tool].files(platform, repositories)
