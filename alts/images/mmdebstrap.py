"""Run mmdebstrap, which makes a Debian root folder's tar from a mirror. Only this file knows its flags."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped
from alts.host.process import run_process
from alts.shared.errors import ImageUnavailable, InfrastructureError

FLAGS = (
    # chroot/mount: mounting needs CAP_SYS_ADMIN, which a worker in a container does not have. Without host mounts the
    # folder is also safe to remove after a killed run.
    # check/qemu: mmdebstrap asks arch-test if i386 runs on amd64, but arch-test is rarely installed. A machine that
    # cannot run i386 fails soon enough.
    # chroot/policy-rc.d: mmdebstrap removes any policy-rc.d at its end, including ours.
    "--skip=chroot/mount,check/qemu,chroot/policy-rc.d",
    # The content of the official images: priority "required", and apt.
    "--variant=minbase",
)
"""Flags for every root. They influence its content, so recipes hash them into their names."""

_INTERRUPT_GRACE = 5.0  # seconds to end apt and dpkg, which run in sessions of their own
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def make_root(
    target: Path,
    *,
    codename: str,
    architecture: str,
    mirror: str | None,
    finish: Path,
    scratch: Path,
    stop: Stop,
    sink: OutputSink,
) -> None:
    """Write the tar of a root folder with the required packages and apt.

    `finish`: a shell script that runs on the folder (path in $1) before packing.
    `scratch`: an empty folder for temporary files; the caller removes it.
    Raises ImageUnavailable or Stopped.
    """
    argv = root_argv(target, codename=codename, architecture=architecture, mirror=mirror, finish=finish)
    try:
        done = run_process(
            argv, stop=stop, env=_environment(scratch), cwd=scratch, sink=sink, interrupt_grace=_INTERRUPT_GRACE
        )
    except InfrastructureError as error:
        raise ImageUnavailable(
            "mmdebstrap cannot be started", details=str(error), resolution="apt-get install mmdebstrap", retryable=False
        ) from error
    if done.stopped is not None:
        raise Stopped(done.stopped)
    if not done.ok:
        raise ImageUnavailable(f"mmdebstrap {codename} failed (exit code {done.exit_code})", details=done.tail())


def root_argv(target: Path, *, codename: str, architecture: str, mirror: str | None, finish: Path) -> Sequence[str]:
    """Build the command line; see mmdebstrap(1).

    mmdebstrap passes hooks to a shell, so paths in them are quoted. All other words are our own.
    """
    return (
        "mmdebstrap",
        # root needs no user namespace, which many containers do not get.
        f"--mode={'root' if os.geteuid() == 0 else 'auto'}",
        *FLAGS,
        f"--architectures={architecture}",
        f'--customize-hook=sh {shlex.quote(str(finish))} "$1"',
        codename,
        str(target),
        *([mirror] if mirror else []),
    )


def _environment(scratch: Path) -> Mapping[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",
        **{name: os.environ[name] for name in _PROXIES if name in os.environ},
    }
