"""The beginnings of apt's command lines."""

from __future__ import annotations

# By default apt takes a name that it does not know for a regular expression ("x.y", "a+"), and works on the matches.
# With this option only "^..." and "...$" are expressions, and no package has such a name (apt.conf(5), apt(8) since
# 2.0). Older versions get exact names from the question itself: NAME=VERSION of a candidate with just that name.
_EXACT_NAMES = "--option=APT::Cmd::Pattern-Only=true"
APT_GET = ("apt-get", "--yes", "--quiet", "--option=Dpkg::Use-Pty=0", _EXACT_NAMES)
APT_CACHE = ("apt-cache", _EXACT_NAMES)

WITHOUT_LISTS = (
    "--option=Dir::State::lists=/var/lib/apt/no-lists",
    "--option=Dir::Cache::pkgcache=",
    "--option=Dir::Cache::srcpkgcache=",
)
"""Options for a command that needs to know the installed packages alone.

apt looks at every package of its lists when it starts, which takes half a second with Debian's. There is no such
folder, and the caches of the lists stay as they are.
"""
