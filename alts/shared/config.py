"""The keys of the configuration, checked once. configs/example_config.yaml has a comment on each.

Entry points load the file (alts.shared.config_file) and hand the Config in; nothing else reads it.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from alts.shared.auth.secret_strength import ASYMMETRIC, check_strength
from alts.shared.errors import ConfigurationError
from alts.shared.models.runner_names import RUNNER_NAMES
from alts.shared.network_rules import DENIED, Network, NetworkRules

# Credential services of clouds: link-local addresses, Alibaba, Oracle, and Amazon and Google over IPv6. Not Azure's
# 168.63.129.16, which is its resolver too.
METADATA_NETWORKS = ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128")


def _host_architecture() -> Literal["x86_64", "aarch64"]:
    return "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RunnerConfig(_Section):
    """One runner, as routing sees it. Of several runners for a task the one with the lowest cost is chosen."""

    cost: int = Field(default=0, ge=0, le=1000)
    architectures: tuple[Literal["x86_64", "aarch64"], ...] = ("x86_64",)


class InstanceLimits(_Section):
    """Resource limits of one machine under test."""

    memory_mb: int = Field(default=2048, ge=64)
    cpus: float = Field(default=2.0, gt=0)
    pids: int = Field(default=2048, ge=64)
    disk_mb: int = Field(default=20480, ge=100)


KeyId = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]


class Config(_Section):
    """Every key of the configuration file."""

    # tokens
    jwt_secret: SecretStr = SecretStr("")
    jwt_secret_file: Path | None = None
    jwt_algorithm: Literal["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"] = "HS256"
    jwt_secrets: dict[KeyId, SecretStr] = Field(default_factory=dict)
    jwt_public_key_file: Path | None = None
    jwt_jwks_file: Path | None = None
    jwt_leeway: float = Field(default=10.0, ge=0, le=300)
    worker_secret: SecretStr | None = None

    # the ledger
    database_url: str = Field(default="sqlite:///.alts/state/ledger.sqlite", repr=False)
    state_folder: Path | None = None

    # the queue
    broker: Literal["rabbitmq", "memory"] = "rabbitmq"
    rabbitmq_host: str = "localhost"
    rabbitmq_port: int = Field(default=5672, ge=1, le=65535)
    rabbitmq_user: str = "alts"
    rabbitmq_password: SecretStr = SecretStr("")
    rabbitmq_vhost: str = "/"

    # artifacts and results
    storage: Literal["s3", "folder"] = "s3"
    storage_folder: Path = Path(".alts/state/storage")
    s3_endpoint_url: str | None = None
    s3_region: str = "us-east-1"
    s3_bucket: str = "alts"
    s3_access_key_id: str = "alts"
    s3_secret_access_key: SecretStr = SecretStr("")
    artifacts_root_directory: str = "artifacts"
    results_root_directory: str = "results"

    # the scheduler
    scheduler_url: str = "http://localhost:8000"
    lease_seconds: float = Field(default=30.0, gt=0)
    max_attempts: int = Field(default=3, ge=1, le=20)
    retry_delay: float = Field(default=10.0, ge=0)
    retry_delay_max: float = Field(default=300.0, ge=0)
    retry_elsewhere_seconds: float = Field(default=60.0, ge=0)
    idempotency_hours: float = Field(default=24.0, gt=0)
    resend_after: float = Field(default=600.0, gt=0)
    reconcile_interval: float = Field(default=2.0, gt=0)
    caller_requests_per_minute: int = Field(default=12_000, ge=0)
    caller_unfinished_tasks: int = Field(default=20_000, ge=0)

    # the worker
    worker_name: str = Field(default_factory=socket.gethostname)
    work_folder: Path = Path(".alts/work")
    cache_folder: Path = Path(".alts/cache")
    heartbeat_seconds: float = Field(default=1.0, gt=0)
    task_timeout: float = Field(default=3600.0, gt=0)
    stage_timeouts: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    drain_timeout: float = Field(default=30.0, ge=0)
    spool_limit_mb: int = Field(default=1024, ge=1)
    min_free_disk_mb: int = Field(default=1024, ge=0)
    reap_interval: float = Field(default=30.0, gt=0)

    # the repositories of requests
    repository_networks_denied: tuple[Network, ...] = DENIED
    repository_networks_allowed: tuple[Network, ...] = ()

    # the machines
    runners: dict[str, RunnerConfig] = Field(default_factory=lambda: {"docker": RunnerConfig()})
    host_architecture: Literal["x86_64", "aarch64"] = Field(default_factory=_host_architecture)
    docker_host: str = Field(default_factory=lambda: os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    docker_provider: Literal["embedded", "registry"] = "embedded"
    docker_provider_version: str = "~> 3.6"
    terraform: str | None = None
    allow_emulation: bool = False
    image_pull: bool = True
    image_pull_timeout: float = Field(default=300.0, gt=0)
    image_bootstrap: bool = True
    mirrors: dict[str, str] = Field(default_factory=dict)
    repository_max_age: float = Field(default=900.0, ge=0)
    pool_size: int | None = Field(default=None, ge=0, le=100)
    pool_max_age: float = Field(default=900.0, gt=0)
    instance_limits: InstanceLimits = InstanceLimits()
    instance_network_pool: str | None = "10.213.0.0/16"
    instance_networks_denied: tuple[str, ...] = METADATA_NETWORKS

    @field_validator("instance_network_pool")
    @classmethod
    def _pool_has_subnets(cls, pool: str | None) -> str | None:
        if pool is not None and ipaddress.IPv4Network(pool).prefixlen > 24:
            raise ValueError("too small: at least a /24 is required")
        return pool

    @field_validator("instance_networks_denied")
    @classmethod
    def _denied_are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ipaddress.ip_network(network)) for network in networks)

    @field_validator("scheduler_url", "s3_endpoint_url", "mirrors")
    @classmethod
    def _addresses_have_no_password(cls, value: Any) -> Any:
        """Addresses appear in logs, reports and the process list."""
        for address in value.values() if isinstance(value, dict) else (value or "",):
            if "@" in address.partition("://")[2].partition("/")[0]:
                raise ValueError("an address must not have a user or a password in it")
        return value

    @field_validator("runners")
    @classmethod
    def _runners_exist(cls, runners: dict[str, RunnerConfig]) -> dict[str, RunnerConfig]:
        if unknown := set(runners) - set(RUNNER_NAMES):
            raise ValueError(f"unknown runner {', '.join(sorted(unknown))}; choose one of: {', '.join(RUNNER_NAMES)}")
        if not runners:
            raise ValueError("at least one runner is required, for example docker: {}")
        return runners

    @model_validator(mode="after")
    def _secrets_are_strong(self) -> Config:
        _check_token_secrets(self)
        if self.broker == "rabbitmq" and not self.rabbitmq_password.get_secret_value():
            raise ConfigurationError("rabbitmq_password", "missing", resolution="needed with broker: rabbitmq")
        if self.storage == "s3" and not self.s3_access_key_id:
            raise ConfigurationError("s3_access_key_id", "missing", resolution="needed with storage: s3")
        if self.storage == "s3" and not self.s3_secret_access_key.get_secret_value():
            raise ConfigurationError("s3_secret_access_key", "missing", resolution="needed with storage: s3")
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ConfigurationError(
                "heartbeat_seconds",
                "too long: a lease must outlive two heartbeats",
                resolution="at most lease_seconds / 2",
            )
        return self

    @property
    def hmac_algorithm(self) -> str:
        """The algorithm of all secrets: for workers' tokens, and for callers' unless jwt_algorithm is asymmetric."""
        return "HS256" if self.jwt_algorithm in ASYMMETRIC else self.jwt_algorithm

    @property
    def workers_secret(self) -> SecretStr:
        """The secret that workers sign their tokens with."""
        return self.jwt_secret if self.worker_secret is None else self.worker_secret

    @property
    def repository_networks(self) -> NetworkRules:
        """The rules for addresses of callers' repositories and keys."""
        return NetworkRules(self.repository_networks_denied, self.repository_networks_allowed)

    @property
    def worker_architectures(self) -> tuple[str, ...]:
        """Host architectures whose tasks a worker here takes: its own, and with allow_emulation the other one."""
        return ("x86_64", "aarch64") if self.allow_emulation else (self.host_architecture,)

    @property
    def embedded(self) -> bool:
        """Whether the broker is in memory, so that scheduler and worker must share a process."""
        return self.broker == "memory"


def _check_token_secrets(config: Config) -> None:
    """Raises ConfigurationError for a key that is too weak or contradicts another one."""
    if config.jwt_secret.get_secret_value() or config.worker_secret is None:
        check_strength("jwt_secret", config.jwt_secret, config.hmac_algorithm)
    if config.worker_secret is not None:
        check_strength("worker_secret", config.worker_secret, config.hmac_algorithm)
        if config.worker_secret == config.jwt_secret:
            raise ConfigurationError(
                "worker_secret", "is the same as jwt_secret", resolution="remove it, or give another secret"
            )
    for kid, secret in config.jwt_secrets.items():
        check_strength(f"jwt_secrets.{kid}", secret, config.hmac_algorithm)
        if kid == "worker":
            raise ConfigurationError("jwt_secrets.worker", "this key name is reserved for the workers; choose another")
    asymmetric = config.jwt_algorithm in ASYMMETRIC
    for key in ("jwt_public_key_file", "jwt_jwks_file"):
        if getattr(config, key) is not None and not asymmetric:
            raise ConfigurationError(key, f"needs jwt_algorithm: one of {', '.join(ASYMMETRIC)}")
    if asymmetric and config.jwt_secrets:
        raise ConfigurationError(
            "jwt_secrets", f"have no effect with {config.jwt_algorithm}", resolution="use jwt_jwks_file"
        )
    if config.jwt_public_key_file is not None and config.jwt_jwks_file is not None:
        raise ConfigurationError("jwt_jwks_file", "give either this or jwt_public_key_file")
