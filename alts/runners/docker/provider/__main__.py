"""`python -m alts.runners.docker.provider --serve SOCKET --docker-host URL`: see server.py."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from alts.runners.docker.provider.server import serve


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="alts.runners.docker.provider", description="the embedded Terraform provider for docker"
    )
    parser.add_argument("--serve", metavar="SOCKET", type=Path, required=True, help="a path of at most 107 bytes")
    parser.add_argument("--docker-host", metavar="URL", required=True, help="e.g. unix:///var/run/docker.sock")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    serve(arguments.serve, docker_host=arguments.docker_host)


if __name__ == "__main__":
    main()
