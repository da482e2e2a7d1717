"""A worker process whose machines are files: `celery -A bench.stub_worker worker ...` reads ALTS_CONFIG.

It does everything that a worker does for a task besides the work in the machine.
"""

from __future__ import annotations

from pathlib import Path

from alts.shared.config import Config
from alts.shared.config_file import config_path, load_config
from alts.worker.composition import create_worker_app
from tests.chaos.stub_runner import StubRunner


def _runner(_config: Config, *, worker: str, folder: Path) -> StubRunner:
    return StubRunner(folder, worker=worker)


app = create_worker_app(load_config(config_path()), runners={"docker": _runner})
