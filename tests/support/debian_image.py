"""The service's own Debian 12 image, from the cache that all tests share."""

from __future__ import annotations

from alts.core.stop import Stop
from alts.images.factory import image_resolver
from alts.runners.docker.build import DockerBuilds
from alts.runners.docker.engine import Engine
from tests.support.builders import a_config, a_spec
from tests.support.checkout import ROOT

CACHE_FOLDER = ROOT / ".alts" / "cache"


def debian_image() -> str:
    """Return the image's id. The first test on a host waits half a minute for the image."""
    config = a_config(cache_folder=str(CACHE_FOLDER))
    engine = Engine(config.docker_host)
    try:
        return (
            image_resolver(config, engine, DockerBuilds(engine))
            .resolve(a_spec().platform, stop=Stop(240), log=print)
            .id
        )
    finally:
        engine.close()
