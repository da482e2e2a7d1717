"""The embedded Terraform provider for docker: no registry is needed to have it.

One process per worker serves it, and every terraform of that worker attaches to it
(alts.runners.docker.provider.process).
"""

from typing import Final

ADDRESS: Final = "registry.terraform.io/kreuzwerker/docker"
"""Whose place it takes: names and types are those of kreuzwerker/docker 3.x, so one module works with either."""
