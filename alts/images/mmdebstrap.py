"""mmdebstrap: makes a Debian root folder, as a tar, from a mirror. The only file that knows its flags."""

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
    # Mounting needs CAP_SYS_ADMIN, which a worker in a container does not have; and a folder in which nothing of the
    # host is mounted can be removed without a second thought when we were killed half way. Whether i386 runs on amd64
    # it would ask arch-test, which is rarely there; a machine that cannot run it fails soon enough. And at its end it
    # removes whatever policy-rc.d there is, ours too, unless told to keep off.
    "--skip=chroot/mount,check/qemu,chroot/policy-rc.d",
    # What the official images hold: priority "required", and apt.
    "--variant=minbase",
)
"""What every root is made with: part of what decides its content."""

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

    `finish`: a shell script that is run on the folder (its path in $1) before it is packed. `scratch`: an empty folder
    for what is needed meanwhile; the caller removes it. Raises ImageUnavailable or Stopped.
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
    """mmdebstrap(1). Paths go to a shell inside, quoted; everything else is ours."""
    return (
        "mmdebstrap",
        # The superuser needs no user namespace, which many a container does not get.
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
