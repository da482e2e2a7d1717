"""A Debian root made from a real mirror, on the worker and inside a worker's container."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest

from alts.core.resources import resource
from alts.core.stop import Stop, Stopped, StopReason
from alts.images.archive import docker_archive
from alts.images.bootstrap import bootstrap
from alts.images.mmdebstrap import root_argv
from alts.images.recipes import recipes_for
from alts.runners.docker.engine import Engine
from tests.support.builders import a_spec
from tests.support.debian_image import CACHE_FOLDER, debian_image
from tests.support.leftovers import processes_in
from tests.support.machine import HOST, Machine, eventually

pytestmark = pytest.mark.docker

FINISH = resource("images", "debian.sh").read_text()
PR_CAPBSET_DROP = 24  # linux/prctl.h
# Docker's default set (Docker's manual, "Runtime privilege and Linux capabilities"), by the numbers of
# linux/capability.h: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW,
# SYS_CHROOT, MKNOD, AUDIT_WRITE and SETFCAP.
CONTAINER_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
# Not the release of other tests' machines, whose image is there before.
RELEASE = "13"
(RECIPE, _) = recipes_for(a_spec(dist_version=RELEASE).platform, mirrors={}, finish=FINISH)


def give_up_rights() -> None:
    """Let programs that this thread starts have only the capabilities of an ordinary container's root.

    The kernel takes away from a program what is not in the bounding set of the thread that starts it (capabilities(7)).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if capability not in CONTAINER_CAPABILITIES and os.geteuid() == 0:
            assert libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Make an image without a cache, with no more rights than in a container. Yield its id."""
    with ThreadPoolExecutor(1, initializer=give_up_rights) as pool:
        if os.geteuid() == 0:
            refused = pool.submit(subprocess.run, ["unshare", "--mount", "true"], stderr=subprocess.DEVNULL)
            assert refused.result().returncode != 0
        making = pool.submit(bootstrap, RECIPE, folder=tmp_path_factory.mktemp("images"), stop=Stop(240), log=print)
        tar = making.result()
    keep(tar)
    reference = f"alts-test:{uuid.uuid4().hex[:12]}"
    engine, sdk = Engine(HOST), docker.DockerClient(base_url=HOST)
    engine.load(docker_archive(tar, reference=reference, architecture="amd64"), stop=Stop(120))
    yield str(sdk.images.get(reference).id)
    sdk.images.remove(reference, force=True)
    sdk.close()
    engine.close()


def keep(tar: Path) -> None:
    """Put the tar where a worker's would be, so that no other test makes it once more."""
    folder = CACHE_FOLDER / "images"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{tar.name}.{uuid.uuid4().hex}"
    shutil.copyfile(tar, draft)
    draft.rename(folder / tar.name)


@pytest.fixture(scope="module")
def machine(made: str) -> Iterator[Machine]:
    with Machine(made) as machine:
        yield machine


def said(machine: Machine, script: str) -> str:
    return machine.instance.run(["sh", "-c", script], stop=Stop(120)).output


def test_it_is_the_release_that_was_asked_for(machine: Machine) -> None:
    release = said(machine, ". /etc/os-release; echo $ID $VERSION_ID; dpkg --print-architecture")
    assert release == f"debian {RELEASE}\namd64\n"


def test_services_are_not_started_as_in_the_official_image(machine: Machine) -> None:
    assert said(machine, "/usr/sbin/policy-rc.d; echo $?") == "101\n"


def test_nothing_is_in_it_that_would_hide_a_missing_dependency(machine: Machine) -> None:
    assert said(machine, "command -v python3 perl-doc curl gcc") == ""


def test_nothing_is_kept_out_of_what_packages_install(machine: Machine) -> None:
    assert said(machine, "grep -rs path-exclude /etc/dpkg") == ""


def test_nothing_of_the_host_or_of_the_making_is_left_in_it(made: str, machine: Machine) -> None:
    assert (
        said(machine, "ls /tmp /var/lib/apt/lists /var/cache/apt/archives | grep -v -e : -e '^$' -e partial -e lock")
        == ""
    )
    assert said(machine, "ls /etc/apt/apt.conf.d /etc/dpkg/dpkg.cfg.d | grep mmdebstrap") == ""


def test_packages_can_be_installed_with_all_their_files(machine: Machine) -> None:
    done = machine.instance.run(
        ["sh", "-c", "apt-get update -q && apt-get install -qy hello && hello && ls /usr/share/doc/hello/copyright"],
        stop=Stop(120),
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )

    assert done.ok, done.tail()
    assert "Hello, world!" in done.output


def test_a_stop_in_the_middle_leaves_neither_files_nor_processes(tmp_path: Path) -> None:
    stop = Stop(240)

    def hear(text: str) -> None:
        if "extracting" in text or "downloading" in text:
            stop.request(StopReason.CANCELLED)

    with pytest.raises(Stopped):
        bootstrap(RECIPE, folder=tmp_path, stop=stop, log=hear)

    assert list(tmp_path.iterdir()) == []
    assert eventually(lambda: not processes_in(tmp_path))


@pytest.mark.long
def test_it_can_be_made_inside_an_ordinary_container() -> None:
    """A worker of docker-compose.yml runs this way: as root, but without the capability to mount.

    `make test` makes the image with those capabilities, outside a container.
    """
    with Machine(debian_image()) as machine:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(resource("images", "debian.sh"), "finish.sh")
        machine.put("/root", archive.getvalue())
        install = "apt-get update -q && apt-get install -qy --no-install-recommends mmdebstrap debian-archive-keyring"
        installed = machine.instance.run(
            ["sh", "-c", install], stop=Stop(200), env={"DEBIAN_FRONTEND": "noninteractive"}
        )
        assert installed.ok, installed.tail()
        argv = root_argv(
            Path("/root/root.tar"),
            codename=RECIPE.codename,
            architecture=RECIPE.architecture,
            mirror=RECIPE.mirror,
            finish=Path("/root/finish.sh"),
        )

        done = machine.instance.run(argv, stop=Stop(200))

        assert done.ok, done.tail()
        listed = machine.instance.run(["tar", "-tf", "/root/root.tar"], stop=Stop(60)).output
        assert "./usr/sbin/policy-rc.d\n" in listed
        assert "./etc/hostname" not in listed
