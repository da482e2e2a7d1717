"""What packages ask their administrator: answers given beforehand, and what is asked before data is deleted. Pure.

debconf(7), debconf-devel(7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ANSWERS_PATH = "/.alts-answers"
"""A file of ANSWERS; programs that run with ENVIRONMENT read it."""
ENVIRONMENT = {"DEBCONF_DB_FALLBACK": f"File{{filename:{ANSWERS_PATH} readonly:true}}"}

# What any administrator of a container answers, because the default cannot work there: the engine has mounted
# /etc/resolv.conf, so no link can take its place. Every other question keeps its default.
ANSWERS = """\
Name: resolvconf/linkify-resolvconf
Template: resolvconf/linkify-resolvconf
Value: false
Owners: resolvconf
Flags: seen

"""

_FIELD = re.compile(r"(?P<name>Template|Type|Default): *(?P<value>.*)")

# Packages name such a question as they like, but say what it is about: "slapd/purge_database",
# "mariadb-server/postrm_remove_databases", "boinc-client/remove-boinc-dir".
_ABOUT_DELETING = re.compile(r"[/_-](?:purge|postrm|remove|delete)(?:[/_-]|$)")


def templates_argv(archives: str, name: str, version: str) -> Sequence[str]:
    """Prints the questions of the package whose file lies in the folder `archives`; nothing where it asks none."""
    script = 'for file in "$1/$2"_*.deb; do dpkg-deb --info "$file" templates 2>/dev/null || :; done'
    return ("/bin/sh", "-c", script, "sh", archives, f"{name}_{version.replace(':', '%3a')}")


def asks_before_deleting(templates: str) -> str:
    """The first question that must be answered with yes before data is deleted; empty where there is none."""
    for stanza in templates.split("\n\n"):
        matches = filter(None, map(_FIELD.fullmatch, stanza.splitlines()))
        fields = {match["name"]: match["value"].strip() for match in matches}
        question = fields.get("Template", "")
        unasked_is_no = fields.get("Type") == "boolean" and fields.get("Default", "false") == "false"
        if unasked_is_no and _ABOUT_DELETING.search(question):
            return question
    return ""
