"""A worker process with plain machines: `celery -A tests.support.plain_worker_app worker ...` reads ALTS_CONFIG.

It is for tests of the life of a worker that do not depend on what makes its machines.
"""

from __future__ import annotations

from alts.shared.config_file import config_path, load_config
from alts.worker.composition import create_worker_app
from tests.support.plain_runner import plain_runner

app = create_worker_app(load_config(config_path()), runners={"docker": plain_runner})
