"""The beginnings of apt's command lines."""

from __future__ import annotations

# By default apt takes a name that it does not know for a regular expression ("x.y", "a+"), and works on the matches.
# With this option only "^..." and "...$" are expressions, and no package has such a name (apt.conf(5), apt(8) since
# 2.0). Older versions get exact names from the question itself: NAME=VERSION of a candidate with just that name.
_EXACT_NAMES = "--option=APT::Cmd::Pattern-Only=true"
APT_GET = ("apt-get", "--yes", "--quiet", "--option=Dpkg::Use-Pty=0", _EXACT_NAMES)
APT_CACHE = ("apt-cache", _EXACT_NAMES)
