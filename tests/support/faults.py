"""Faults around a package under test, on machines of either family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import docker

from alts.core.instance import Instance
from alts.core.stop import Stop
from tests.corpus.rpms import FAULTY
from tests.support.deb_repository import build_deb, write_index
from tests.support.fault_lab import Strike
from tests.support.mirror import Fault, Mirror

NAME = "mirror.invalid"
"""Name of the test's mirror on RPM machines, while names are resolved."""


def in_shell(script: str, *arguments: str) -> Strike:
    """Return a strike that runs the script in the machine."""

    def strike(instance: Instance) -> None:
        done = instance.run(["sh", "-c", script, "sh", *arguments], stop=Stop(60))
        assert done.ok, done.output

    return strike


def killed(instance: Instance) -> None:
    """Remove the machine as the host's owner would."""
    client = docker.from_env()
    try:
        client.containers.get(instance.name).remove(force=True)
    finally:
        client.close()


# Fill the file system of the folders $@: the 64 MiB of /dev/shm.
_FILL = """
set -e
mkdir /dev/shm/full
number=0
for folder do
    number=$((number + 1))
    mkdir -p "$folder"
    cp -a "$folder/." "/dev/shm/full/$number/"
    rm -rf "$folder"
    ln -s "/dev/shm/full/$number" "$folder"
done
dd if=/dev/zero of=/dev/shm/full/all bs=1M 2>/dev/null || :
dd if=/dev/zero of=/dev/shm/full/rest bs=1 count=65536 2>/dev/null || :
"""

# The package "fault-big" unpacks here, and does not fit. No image keeps files below /dev.
_SMALL_FOLDER = "mkdir /dev/shm/small"
_SMALL = f"{_SMALL_FOLDER} && ln -s /dev/shm/small /usr/share/fault-big"


class Family(Protocol):
    """The preparation and the faults of machines of one family."""

    installing: str
    """The package manager's output when it begins to unpack the package under test."""
    removing: str

    def spec(self, mirror: Mirror) -> Mapping[str, Any]:
        """Return a request for a package that needs every step of the plan.

        The package has a dependency from each side, and one of the two leaves something behind. The distribution has an
        older version.
        """

    def ready(self, mirror: Mirror) -> Strike:
        """Send all requests of the machine through the mirror from the beginning."""

    def again(self, mirror: Mirror) -> Strike:
        """Prepare the parts of `ready` that no image keeps, for a machine made from such an image."""

    def no_names(self, mirror: Mirror) -> Strike:
        """Stop the resolution of all server names."""

    def disk_full(self, mirror: Mirror) -> Strike: ...

    def forget(self, mirror: Mirror) -> Strike:
        """Remove the downloaded packages."""


def strikes(family: Family) -> Mapping[str, Callable[[Mirror], Strike]]:
    """Return the faults by name. Each needs a machine that was made ready with the mirror."""
    # Content faults apply only to Debian's mirror, because the task's repository is under test itself.
    own_too = tuple(Fault) if isinstance(family, RpmFamily) else (Fault.UNAVAILABLE,)
    broken = {fault: _mirror_breaks(family, fault, own_too=fault in own_too) for fault in Fault}
    return {
        "killed": lambda mirror: killed,
        "dns-gone": lambda mirror: both(family.forget(mirror), family.no_names(mirror)),
        "disk-full": family.disk_full,
        **{f"mirror-{fault}": breaks for fault, breaks in broken.items() if fault is not Fault.NONE},
    }


def both(*several: Strike) -> Strike:
    def strike(instance: Instance) -> None:
        for one in several:
            one(instance)

    return strike


def well(mirror: Mirror) -> Strike:
    return lambda instance: mirror.is_well(machine=_address_of(instance))


def _mirror_breaks(family: Family, fault: Fault, *, own_too: bool) -> Callable[[Mirror], Strike]:
    def breaking(mirror: Mirror) -> Strike:
        return both(
            family.forget(mirror),
            lambda instance: mirror.break_down(fault, machine=_address_of(instance), own_too=own_too),
        )

    return breaking


def _address_of(instance: Instance) -> str:
    """Return the machine's address for a server on its host."""
    with closing(docker.from_env()) as client:
        [network] = client.containers.get(instance.name).attrs["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])


class DebFamily:
    """Debian 12. The task's packages and Debian's own are behind one proxy."""

    installing = "Unpacking hello"
    removing = "Removing hello"
    wanted = ("hello", "libonig5")
    """The package that Debian has too."""

    @staticmethod
    def build(folder: Path) -> None:
        # The conffile gives the stage purge something to do.
        files = {"/etc/hello.conf": "answer = 42\n", "/DEBIAN/conffiles": "/etc/hello.conf\n"}
        build_deb(folder, "hello", version="99.0", fields={"Depends": "fault-library, libonig5"}, files=files)
        build_deb(folder, "fault-library", scripts={"postinst": "echo left > /etc/fault-library.conf"})
        build_deb(folder, "fault-big", files={f"/usr/share/fault-big/{number}": b"\0" * 40_000_000 for number in "12"})
        write_index(folder)

    def spec(self, mirror: Mirror) -> Mapping[str, Any]:
        return {"package_name": "hello", "repositories": [{"url": mirror.url, "trusted": True}]}

    def ready(self, mirror: Mirror) -> Strike:
        script = (
            'echo "Acquire::http::Proxy \\"$1\\";" > /etc/apt/apt.conf.d/95proxy; '
            'echo "$2" > /etc/apt/trusted.gpg.d/mirror.asc'
        )
        return both(well(mirror), in_shell(script, mirror.url, mirror.key), in_shell(_SMALL))

    def again(self, mirror: Mirror) -> Strike:
        return both(well(mirror), in_shell(_SMALL_FOLDER))

    def no_names(self, mirror: Mirror) -> Strike:
        return in_shell("echo nameserver 127.0.0.1 > /etc/resolv.conf; rm /etc/apt/apt.conf.d/95proxy")

    def disk_full(self, mirror: Mirror) -> Strike:
        return in_shell(_FILL, "/var/lib/dpkg", "/var/cache/apt/alts")

    def forget(self, mirror: Mirror) -> Strike:
        return in_shell("rm -f /var/cache/apt/alts/*.deb")


class RpmFamily:
    """The stand-in. Its distribution has a second repository on the mirror, with the packages of the corpus."""

    installing = f"Installing       : {FAULTY}"
    removing = f"Erasing          : {FAULTY}"

    def spec(self, mirror: Mirror) -> Mapping[str, Any]:
        return {"dist_name": "rpm-standin", "dist_version": "9", "package_name": FAULTY}

    def ready(self, mirror: Mirror) -> Strike:
        port = mirror.url.rstrip("/").rpartition(":")[2]
        script = 'printf "[updates]\\nname=updates\\nbaseurl=%s\\ngpgcheck=0\\n" "$1" > /etc/yum.repos.d/updates.repo'
        return both(
            well(mirror), self._named(mirror), in_shell(script, f"http://{NAME}:{port}/plain/"), in_shell(_SMALL)
        )

    def again(self, mirror: Mirror) -> Strike:
        return both(well(mirror), self._named(mirror), in_shell(_SMALL_FOLDER))

    def _named(self, mirror: Mirror) -> Strike:
        """The engine rewrites /etc/hosts for every machine."""
        host = mirror.url.removeprefix("http://").partition(":")[0]
        return in_shell(f'echo "$1 {NAME}" >> /etc/hosts', host)

    def no_names(self, mirror: Mirror) -> Strike:
        # The engine mounts both files. They can be written but not replaced.
        return in_shell("echo nameserver 127.0.0.1 > /etc/resolv.conf; echo 127.0.0.1 localhost > /etc/hosts")

    def disk_full(self, mirror: Mirror) -> Strike:
        return in_shell(_FILL, "/var/lib/rpm", "/var/cache/dnf", "/var/lib/dnf")

    def forget(self, mirror: Mirror) -> Strike:
        return in_shell("rm -f /var/cache/dnf/*/packages/*.rpm")
