"""The embedded Terraform provider of Docker machines. It takes the place of a registry's provider.

One process per worker serves it, and every terraform of that worker attaches to it
(alts.runners.docker.provider.process).
"""

from typing import Final

ADDRESS: Final = "registry.terraform.io/kreuzwerker/docker"
"""The address of the provider that it replaces. Names and types are those of kreuzwerker/docker 3.x."""
