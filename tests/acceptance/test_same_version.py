"""If a repository has a package in the same version as the distribution, the repository's package is tested."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from alts.core.stop import Stop
from tests.support.deb_repository import build_deb, serving, write_index
from tests.support.debian_image import debian_image
from tests.support.machine import Machine
from tests.support.plain_service import plain_service
from tests.support.stack import schedule, wait_for

pytestmark = pytest.mark.docker

Result = Mapping[str, Any]

# A package of the mirror's Debian 12, and one that every image of it contains.
IN_THE_DISTRIBUTION, IN_THE_IMAGE = "hello", "hostname"
BROKEN = "echo rebuilt and broken >&2; exit 3"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Result]]:
    """Test packages with a repository of broken rebuilds, and with one of good rebuilds. Yield name → result."""
    folder = tmp_path_factory.mktemp("same")
    broken, good = folder / "packages/broken", folder / "packages/good"
    names = (IN_THE_DISTRIBUTION, IN_THE_IMAGE)
    for packages, scripts in ((broken, {"postinst": BROKEN}), (good, {})):
        packages.mkdir(parents=True)
        for name in names:
            build_deb(packages, name, version=version_of(name), scripts=scripts)
        write_index(packages)
    with serving(folder / "packages") as url, plain_service(folder, wanted=names) as service, service.client as client:
        tasks = {
            f"{kind} {name}": schedule(
                client,
                package_name=name,
                package_version=version,
                repositories=[{"url": f"{url}{kind}/", "trusted": True}],
            )
            for kind in ("broken", "good")
            for name, version in ((IN_THE_DISTRIBUTION, version_of(IN_THE_DISTRIBUTION)), (IN_THE_IMAGE, None))
        }
        yield {name: wait_for(client, task_id) for name, task_id in tasks.items()}


@functools.cache
def version_of(name: str) -> str:
    """Return the version that a fresh machine has installed or would install."""
    script = f"dpkg-query -W -f '${{Version}}' {name} 2>/dev/null || {{ apt-get -qq update && apt-cache show {name}; }}"
    with Machine(debian_image()) as machine:
        said = machine.instance.run(["sh", "-c", script], stop=Stop(120)).output
    return next((line.split()[1] for line in said.splitlines() if line.startswith("Version: ")), said.strip())


@pytest.mark.parametrize("name", [IN_THE_DISTRIBUTION, IN_THE_IMAGE])
def test_a_broken_rebuild_of_the_distribution_s_version_fails(results: Mapping[str, Result], name: str) -> None:
    result = results[f"broken {name}"]

    found = [finding["kind"] for stage in result["result"]["stages"] for finding in stage["findings"]]
    assert (result["outcome"], found) == ("failed", ["scriptlet_failed"])


@pytest.mark.parametrize("name", [IN_THE_DISTRIBUTION, IN_THE_IMAGE])
def test_the_report_names_the_repository_that_brought_it(results: Mapping[str, Result], name: str) -> None:
    report = results[f"good {name}"]["result"]

    [proof] = [stage for stage in report["stages"] if stage["stage"] == "right_package"]
    assert (proof["outcome"], proof["findings"]) == ("passed", [])
    assert "/good" in report["package"]["repository"]
    assert report["package"]["sha256"]
