"""One package per family with every fault that does not hide the other faults."""

from __future__ import annotations

from tests.corpus.debs import AMD64, DAEMON, LIBRARIES, Deb
from tests.corpus.elf import elf
from tests.corpus.rpms import LIBRARIES as RPM_LIBRARIES
from tests.corpus.rpms import NO_AUTOREQ, X86_64, Rpm

NAME = "every-fault"

_CHANGED = f"/usr/share/{NAME}/changed"
_DELETED = f"/usr/share/{NAME}/deleted"
_CONFIGURATION = f"/etc/{NAME}/main.conf"
_TEXTS = {_CHANGED: "made for a test\n", _DELETED: "made for a test\n", _CONFIGURATION: "answer = 42\n"}
_LINKS = {f"/usr/share/{NAME}/{number}": f"../nowhere/{number}" for number in range(3)}
# The working folder's name, the time and the process id differ in every run.
_INSTALLED = f"""\
rm {_DELETED}
date +%N >> {_CHANGED}
date +%N >> {_CONFIGURATION}
for number in $(seq 30); do mkdir -p /var/lib/left-$number; date +%N > /var/lib/left-$number/state-$number; done
mkdir -p /etc/cron.d
echo "@daily root /bin/true $$" > /etc/cron.d/{NAME}
useradd --system --no-create-home left-one
useradd --system --no-create-home left-two
{DAEMON}
"""
_NOISE = "echo working in $(mktemp -d) as $$ at $(date +%N) >&2"


def _programs(libraries: str) -> dict[str, bytes]:
    return {
        **{f"/usr/bin/{NAME}-{number}": elf(needed=[f"libnothere.so.{number}", "libc.so.6"]) for number in range(3)},
        f"/usr/bin/{NAME}-runpath": elf(needed=["libc.so.6"], runpath="/tmp/build/lib:relative"),
        f"{libraries}/lib{NAME}.so.1": elf(soname=f"lib{NAME}.so.1", needed=["libneither.so.1"]),
    }


DEB = Deb(
    NAME,
    fields={**AMD64, "Depends": "passwd"},
    files={**_TEXTS, **_programs(LIBRARIES), "/DEBIAN/conffiles": f"{_CONFIGURATION}\n"},
    links=_LINKS,
    scripts={"postinst": _NOISE + "\n" + _INSTALLED, "postrm": _NOISE},
)
RPM = Rpm(
    NAME,
    architecture=X86_64,
    tags=(*NO_AUTOREQ, "Requires(post): shadow-utils"),
    files={**_TEXTS, **_programs(RPM_LIBRARIES)},
    attributes={_CONFIGURATION: "%config"},
    links=_LINKS,
    scripts={"post": _NOISE + "\n" + _INSTALLED, "postun": _NOISE},
)
