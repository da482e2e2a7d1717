"""Users and groups that packages declare for systemd-sysusers(8) in the format of sysusers.d(5). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_FOLDERS = ("/usr/lib/sysusers.d/", "/etc/sysusers.d/")


def declarations(paths: Iterable[str]) -> list[str]:
    """Return those of the paths that are files with declarations, sorted."""
    return sorted(path for path in paths if path.startswith(_FOLDERS) and path.endswith(".conf"))


def declared_names(content: str) -> Iterator[str]:
    """Yield the users and groups of lines like "u _x - 'X' /var/lib/x".

    A line "m user group" declares both, because systemd-sysusers makes them if they are missing.
    """
    for line in content.splitlines():
        sort, *words = line.split()[:3] or ("",)
        if sort in ("u", "u!", "g"):
            yield from words[:1]
        elif sort == "m":
            yield from words
