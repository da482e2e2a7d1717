"""Questions of a package before it deletes data."""

from __future__ import annotations

import pytest

from alts.package_managers.apt.debconf import asks_before_deleting

SLAPD = """\
Template: slapd/no_configuration
Type: boolean
Default: false
Description: Omit OpenLDAP server configuration?

Template: slapd/purge_database
Type: boolean
Default: false
Description: Do you want the database to be removed when slapd is purged?

Template: slapd/password1
Type: password
Description: Administrator password:
"""


def asked(name: str, *, kind: str = "boolean", default: str | None = "false") -> str:
    lines = [f"Template: {name}", f"Type: {kind}", *([] if default is None else [f"Default: {default}"])]
    return "\n".join([*lines, "Description: Purge?", " Default: true is what it says here.", ""])


def test_a_question_among_others_is_found() -> None:
    assert asks_before_deleting(SLAPD) == "slapd/purge_database"


@pytest.mark.parametrize(
    "templates",
    [
        asked("mariadb-server/postrm_remove_databases"),
        asked("boinc-client/remove-boinc-dir", default=None),
        asked("x/purge"),
    ],
)
def test_it_may_be_called_many_things(templates: str) -> None:
    assert asks_before_deleting(templates)


@pytest.mark.parametrize(
    "templates",
    [
        "",
        # Silence means consent to the deletion.
        asked("postgresql-15/postrm_purge_data", default="true"),
        asked("x/purge", kind="note"),
        asked("x/premoved"),
        asked("x/removed"),
    ],
)
def test_other_questions_keep_nothing(templates: str) -> None:
    assert asks_before_deleting(templates) == ""
