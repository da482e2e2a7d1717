"""What dpkg knows of files, and of packages beside the one under test: argv and what their output means. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence

from alts.core.command import Completed
from alts.package_managers.base import Exclusions
from alts.shared.models.task_spec import TaskSpec

# By default apt takes a name that it does not know for a regular expression ("x.y", "a+"), and works on what matches.
# With this only "^..." and "...$" are expressions, which no name of a package is (apt.conf(5), apt(8) since 2.0).
# Older versions are held to exact names by what is asked: NAME=VERSION of a candidate that has just that name.
_EXACT_NAMES = "--option=APT::Cmd::Pattern-Only=true"
APT_GET = ("apt-get", "--yes", "--quiet", "--option=Dpkg::Use-Pty=0", _EXACT_NAMES)
APT_CACHE = ("apt-cache", _EXACT_NAMES)

# dpkg(1), --path-exclude: in a configuration file an option stands without its dashes, one a line.
_PATH_OPTION = re.compile(r"^\s*path-(?P<verb>exclude|include)\s*[=\s]\s*(?P<glob>\S+)\s*$")
_SETTINGS = 'for file in /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d/*; do [ ! -e "$file" ] || cat "$file" || exit; done'
_RELATION_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


class DpkgState:
    """The part of alts.package_managers.base.PackageManager that the stages integrity and leftovers need."""

    def every_owned_file_argv(self) -> Sequence[str]:
        # What `dpkg-query --listfiles` reads, for all packages at once (dpkg-query has no option for that).
        return ("/bin/sh", "-c", "cat /var/lib/dpkg/info/*.list")

    def read_every_owned_file(self, output: str) -> frozenset[str]:
        return frozenset(line for line in output.split("\n") if line not in ("", "/."))

    def exclusions_argv(self) -> Sequence[str]:
        return ("/bin/sh", "-c", _SETTINGS)

    def read_exclusions(self, done: Completed) -> Exclusions:
        rules = [
            (match["verb"] == "exclude", re.compile(fnmatch.translate(match["glob"])))
            for line in done.output.splitlines()
            if (match := _PATH_OPTION.match(line))
        ]

        def excluded(path: str) -> bool:
            """The last match wins; `*` goes over slashes (dpkg(1))."""
            return next((verdict for verdict, glob in reversed(rules) if glob.match(path)), False)

        return excluded

    def optional_argv(self, spec: TaskSpec) -> Sequence[str]:
        return ("dpkg-query", "--show", "--showformat=${Recommends},${Suggests},${Enhances}\\n", spec.package_name)

    def read_optional(self, done: Completed) -> frozenset[str]:
        """From relations such as "python3-doc, www-browser | firefox-esr (>= 91)"."""
        words = re.split(r"[,|\n]", done.output)
        return frozenset(match[0] for word in words if (match := _RELATION_NAME.match(word.strip())))

    def install_others_argv(self, others: Mapping[str, str]) -> Sequence[str]:
        wanted = (f"{name}={version}" for name, version in sorted(others.items()))
        return (*APT_GET, "--no-install-recommends", "install", *wanted)

    def remove_others_argv(self, others: Iterable[str]) -> Sequence[str]:
        # What has come along may go, be it essential: such as e2fsprogs, which small images do without.
        return (*APT_GET, "--allow-remove-essential", "purge", "--", *sorted(others))
