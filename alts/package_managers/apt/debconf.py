"""debconf: answers to packages' questions, and the questions about deleting data. Pure.

Sources: debconf(7), debconf-devel(7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from alts.package_managers.apt.stanzas import read_stanzas

ANSWERS_PATH = "/.alts-answers"
"""Path of the file with ANSWERS. debconf reads it in commands that run with ENVIRONMENT."""
ENVIRONMENT = {"DEBCONF_DB_FALLBACK": f"File{{filename:{ANSWERS_PATH} readonly:true}}"}

# The engine mounts /etc/resolv.conf into a container, so no link can replace it, and the default answer fails.
# Every other question keeps its default.
ANSWERS = """\
Name: resolvconf/linkify-resolvconf
Template: resolvconf/linkify-resolvconf
Value: false
Owners: resolvconf
Flags: seen

"""

# Names of questions are free, but these hold a word for the removal: "slapd/purge_database",
# "mariadb-server/postrm_remove_databases", "boinc-client/remove-boinc-dir".
_ABOUT_DELETING = re.compile(r"[/_-](?:purge|postrm|remove|delete)(?:[/_-]|$)")


def templates_argv(archives: str, name: str, version: str) -> Sequence[str]:
    """Return the command that prints the templates of a package's .deb in the folder `archives`, if it has any."""
    script = 'for file in "$1/$2"_*.deb; do dpkg-deb --info "$file" templates 2>/dev/null || :; done'
    return ("/bin/sh", "-c", script, "sh", archives, f"{name}_{version.replace(':', '%3a')}")


def asks_before_deleting(templates: str) -> str:
    """Return the first question that must be answered with yes before data is deleted; "" if there is none."""
    for fields in read_stanzas(templates):
        question = fields.get("Template", "")
        unasked_is_no = fields.get("Type") == "boolean" and fields.get("Default", "false") == "false"
        if unasked_is_no and _ABOUT_DELETING.search(question):
            return question
    return ""
