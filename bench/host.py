"""The machine on which figures are measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def host() -> dict[str, str | int]:
    """Return what a reader must know to compare figures with those of another machine."""
    # proc(5): a line per property and processor.
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    models = [value.strip() for name, _, value in lines if name.strip() == "model name"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count() or 0,
        "processor": models[0] if models else platform.machine(),
        "memory_gb": round(memory / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
