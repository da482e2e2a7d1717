"""Services that a machine starts by itself, read from its files: systemd units, init scripts, cron entries. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from alts.checks.state.snapshot import FileState

# systemd.unit(5), init.d(7), cron(8). A README or a file that begins with a dot only keeps the folder in a package.
_PLACES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "systemd",
        re.compile(r"(?:/usr/lib|/lib|/etc)/systemd/system/([^/]+\.(?:service|socket|timer|path|mount|target))"),
    ),
    ("enabled", re.compile(r"/etc/systemd/system/[^/]+\.(?:wants|requires)/([^/]+)")),
    ("init.d", re.compile(r"/etc/(?:rc\.d/)?init\.d/(?!README|\.)([^/]+)")),
    ("cron", re.compile(r"(/etc/cron\.[a-z]+/(?!\.)[^/]+|/var/spool/cron/(?:[^/]+/)*[^/.][^/]*)")),
)


def services_of(files: Mapping[str, FileState]) -> Mapping[str, FileState]:
    """Return service → its file.

    For example "systemd nginx.service", "enabled nginx.service", "init.d nginx", "cron /etc/cron.d/php".
    """
    found = {}
    for path, state in files.items():
        if state.type == "d" or not path.startswith(
            ("/etc/", "/usr/lib/systemd/", "/lib/systemd/", "/var/spool/cron/")
        ):
            continue
        for sort, place in _PLACES:
            if match := place.fullmatch(path):
                found[f"{sort} {match[1]}"] = state
    return found
