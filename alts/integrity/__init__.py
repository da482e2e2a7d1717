"""Whether what a package ships can work where it lies: libraries, search paths, links. Pure: bytes and snapshots in."""
