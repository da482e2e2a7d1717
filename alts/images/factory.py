"""Provide a base image in the engine: use the existing one, pull it, or bootstrap it from a mirror."""

from __future__ import annotations

from functools import partial

from alts.images.bootstrap import bootstrap
from alts.images.resolver import Image, ImageEngine, ImageResolver
from alts.images.rpm_standin import BuildEngine, build_standin
from alts.shared.config import Config

__all__ = ["Image", "ImageEngine", "ImageResolver", "image_resolver"]


def image_resolver(config: Config, engine: ImageEngine, builds: BuildEngine) -> ImageResolver:
    """Build the resolver that the configuration describes."""
    return ImageResolver(
        engine,
        cache_folder=config.cache_folder / "images",
        mirrors=config.mirrors,
        pull_timeout=config.image_pull_timeout if config.image_pull else None,
        bootstrap=bootstrap if config.image_bootstrap else None,
        build_standin=partial(build_standin, engine=builds),
    )
