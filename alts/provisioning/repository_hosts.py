"""Check a task's repository addresses before a machine is made."""

from __future__ import annotations

from urllib.parse import urlsplit

from alts.core.stop import Stop
from alts.host.dns import Resolve, addresses_of, look_up
from alts.shared.errors import RepositoryUnreachable
from alts.shared.models.task_spec import TaskSpec
from alts.shared.network_rules import NetworkRules


def check_hosts(spec: TaskSpec, rules: NetworkRules, *, stop: Stop, resolve: Resolve = addresses_of) -> None:
    """Check that all addresses of repositories and keys are allowed by the rules.

    A name that does not resolve here passes: the package manager in the machine reports it.
    Raises Stopped, or RepositoryUnreachable, which is not retryable: the cause is neither the package nor transient.
    """
    urls = [url for repository in spec.repositories for url in (repository.source[0], repository.gpg_key or "")]
    hosts = {urlsplit(url).hostname or "": url for url in urls if url.startswith(("http://", "https://"))}
    for host, url in hosts.items():
        if rules.denies_host(host) or any(map(rules.denies, look_up(host, stop=stop, resolve=resolve))):
            raise RepositoryUnreachable(
                f"{url} resolves to an address that this service does not connect to",
                resolution="the operator can allow it with repository_networks_allowed",
                retryable=False,
            )
