"""Draw the rooms and their imports from the code: `make docs-picture`.

Writes docs/rooms.dot, and docs/rooms.svg by graphviz's dot. An arrow means that a module of one room imports a module
of the other.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import grimp

DOCS = Path(__file__).parent
DOT, SVG = DOCS / "rooms.dot", DOCS / "rooms.svg"
PACKAGES = ("alts", "scheduler")

Arrow = tuple[str, str]


def room_of(module: str) -> str:
    """Return the first two parts of a module's name."""
    return ".".join(module.split(".")[:2])


def arrows() -> set[Arrow]:
    """Return (room, imported room) for each import between rooms."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    found = {
        (room_of(importer), room_of(imported))
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }
    # Every room may import the package itself, for its folder.
    return {(above, below) for above, below in found if above != below and below not in PACKAGES}


def dot(found: set[Arrow]) -> str:
    """Return the picture in graphviz's language. The same arrows give the same text."""
    rooms = sorted({room for arrow in found for room in arrow})
    lines = ["digraph rooms {", '  graph [rankdir=TB, fontname="sans-serif"]', "  node [shape=box, style=rounded]"]
    for package in PACKAGES:
        names = [room.removeprefix(f"{package}.") for room in rooms if room.startswith(f"{package}.")]
        lines += [f"  subgraph cluster_{package} {{", f'    label="{package}"']
        lines += [f'    "{package}.{name}" [label="{name}"]' for name in names]
        lines.append("  }")
    lines += [f'  "{above}" -> "{below}"' for above, below in sorted(found)]
    return "\n".join([*lines, "}", ""])


def main() -> None:
    DOT.write_text(dot(arrows()))
    subprocess.run(["dot", "-Tsvg", "-o", SVG, DOT], check=True)


if __name__ == "__main__":
    main()
