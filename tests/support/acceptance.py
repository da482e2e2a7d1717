"""Reports and repositories that several acceptance tests share; tests/conftest.py offers them as fixtures.

The fast tests load this file too and need none of its imports, so the imports are inside the functions.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def hello_report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the embedded stack's report of `hello` on Debian 12. The processes of a run share one."""
    from alts.core.stop import Stop
    from alts.host.host_lock import host_lock
    from tests.support.embedded import EmbeddedService
    from tests.support.stack import schedule, wait_for

    shared = shared_folder(tmp_path_factory)
    file = shared / "hello.json"
    with host_lock(shared / "hello.lock", Stop(900)):
        if not file.exists():
            with EmbeddedService(tmp_path_factory.mktemp("hello")) as service, service.client as client:
                file.write_text(json.dumps(wait_for(client, schedule(client))["result"]))
    report: dict[str, Any] = json.loads(file.read_text())
    return report


def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the run. Each process of pytest-xdist has a folder of its own below it."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


STANDIN = {"dist_name": "rpm-standin", "dist_version": "9", "dist_arch": "x86_64"}


@pytest.fixture(scope="session")
def rpm_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the repositories of all RPMs of tests.corpus, built in a container of the stand-in.

    The processes of a run share one build.
    """
    from alts.core.stop import Stop
    from alts.host.host_lock import host_lock
    from tests.corpus.every_fault import RPM
    from tests.corpus.hostile_rpms import GOOD_NEIGHBOUR, HOSTILE_RPMS
    from tests.corpus.rpm_builder import build
    from tests.corpus.rpms import RPMS

    shared = shared_folder(tmp_path_factory)
    folder = shared / "rpms"
    with host_lock(shared / "rpms.lock", Stop(900)):
        if not folder.exists():
            draft = tmp_path_factory.mktemp("rpms-draft")
            build(draft, (*RPMS, RPM, *HOSTILE_RPMS, GOOD_NEIGHBOUR), **standin_image())
            draft.rename(folder)
    return folder


def standin_image() -> dict[str, str]:
    """Make the stand-in's image if it is missing.

    Return arguments of tests.corpus.rpm_builder.build: "image" is its id.
    """
    from alts.core.stop import Stop
    from alts.images.factory import image_resolver
    from alts.runners.docker.build import DockerBuilds
    from alts.runners.docker.engine import Engine
    from tests.support.builders import a_config, a_spec
    from tests.support.checkout import ROOT

    config = a_config(cache_folder=str(ROOT / ".alts/cache"))
    engine = Engine(config.docker_host)
    try:
        resolver = image_resolver(config, engine, DockerBuilds(engine))
        image = resolver.resolve(a_spec(package_name="rpm", **STANDIN).platform, stop=Stop(900), log=print)
    finally:
        engine.close()
    return {"image": image.id, "docker_host": config.docker_host}
