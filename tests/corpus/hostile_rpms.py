"""Specs of hostile and hostile-looking RPMs, and the expected verdicts.

ROWS is the table: package → expected outcome and kinds, and the reason. tests.corpus.hostile_debs is the Debian
counterpart. In a spec, a percent sign is written twice.
"""

from __future__ import annotations

from functools import partial

from tests.corpus.hostile_debs import (
    DEAF_DAEMON,
    ESCAPED,
    INFRASTRUCTURE_WORDS,
    LITTER,
    LITTER_NAMES,
    METADATA_ADDRESSES,
    METADATA_PORT,
)
from tests.corpus.hostile_debs import HostileRow as AnyRow
from tests.corpus.rpms import Rpm

HostileRow = partial(AnyRow, distribution="9")

_CALL = f"""\
python3 -c '
import socket, sys
for address in sys.argv[1:]:
    try:
        socket.create_connection((address, {METADATA_PORT}), timeout=3)
        sys.exit("{ESCAPED}")
    except OSError:
        pass
' {" ".join(METADATA_ADDRESSES)}
"""

_FORK_BOMB = """\
exec python3 -c '
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(1)
'
"""

HOSTILE_RPMS = (
    Rpm("hostile-fork-bomb", scripts={"post": _FORK_BOMB}),
    Rpm("hostile-memory-bomb", scripts={"post": "exec tail /dev/zero"}),
    Rpm("hostile-disk-filler", scripts={"post": "cat /dev/zero > /var/lib/full"}),
    Rpm("hostile-output-flood", scripts={"post": "exec yes 'what nobody will ever want to read'"}),
    Rpm("hostile-kills-everything", scripts={"post": "kill -9 -1"}),
    Rpm("hostile-metadata-caller", scripts={"post": f"{INFRASTRUCTURE_WORDS}{_CALL}"}),
    Rpm("hostile-litter", scripts={"post": f"{LITTER}{DEAF_DAEMON}"}),
    Rpm("hostile-failing-words", scripts={"pre": f"{INFRASTRUCTURE_WORDS}exit 1"}),
    Rpm("hostile-no-rpm", scripts={"post": "rm -f /usr/bin/rpm"}),
    Rpm("hostile-no-usr", scripts={"post": "rm -rf /usr"}),
)

ROWS = (
    HostileRow("hostile-fork-bomb", ("timeout",), slow=True, why="it never ends"),
    HostileRow("hostile-memory-bomb", ("out_of_memory",), why="the kernel kills it at the machine's limit"),
    HostileRow("hostile-disk-filler", ("disk_limit_exceeded",), why="it is stopped at the machine's limit"),
    HostileRow(
        "hostile-output-flood", ("disk_limit_exceeded",), why="rpm keeps all that a script says in a file first"
    ),
    HostileRow("hostile-kills-everything", ("install_failed",), why="it kills dnf too, but not the machine"),
    HostileRow(
        "hostile-metadata-caller",
        outcome="passed",
        why="it reaches nobody, and goes on; what it prints is no verdict",
    ),
    HostileRow(
        "hostile-litter",
        (*("leftover_file",) * len(LITTER_NAMES), "process_left_running"),
        why="each name is told, once, and the process that outlives the package",
    ),
    HostileRow("hostile-failing-words", ("scriptlet_failed",), why="what a script prints is no excuse"),
    HostileRow("hostile-no-rpm", ("install_failed",), why="the package manager does not answer any more"),
    HostileRow("hostile-no-usr", ("install_failed",), why="what a machine needs is gone since the package came"),
)

GOOD_NEIGHBOUR = Rpm("hostile-neighbour")
