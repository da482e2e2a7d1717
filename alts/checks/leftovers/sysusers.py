"""What packages declare for systemd-sysusers(8): sysusers.d(5). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_FOLDERS = ("/usr/lib/sysusers.d/", "/etc/sysusers.d/")


def declarations(paths: Iterable[str]) -> list[str]:
    """Of all the paths the files that declare users and groups, sorted."""
    return sorted(path for path in paths if path.startswith(_FOLDERS) and path.endswith(".conf"))


def declared_names(content: str) -> Iterator[str]:
    """Users and groups of lines such as "u _x - 'X' /var/lib/x"; "m user group" makes both where they are missing."""
    for line in content.splitlines():
        sort, *words = line.split()[:3] or ("",)
        if sort in ("u", "u!", "g"):
            yield from words[:1]
        elif sort == "m":
            yield from words
