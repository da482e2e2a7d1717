"""This host's memory."""

from __future__ import annotations

from pathlib import Path

_MEMINFO = Path("/proc/meminfo")


def available_mb(meminfo: Path = _MEMINFO) -> int:
    """Return the memory that new processes can use without swapping, in MiB (proc(5), "MemAvailable").

    Raises OSError or ValueError if the kernel does not say.
    """
    for line in meminfo.read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) // 1024
    raise ValueError(f"no MemAvailable in {meminfo}")
