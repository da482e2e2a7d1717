"""A worker process of a chaos run: the real one, but for a runner that keeps a journal.

`celery -A tests.chaos.worker_app worker ...`, with ALTS_CONFIG as ever and the run's folder in ALTS_CHAOS_FOLDER.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from alts.shared.config import config_path, load_config
from alts.worker_process import create_worker_app
from tests.chaos.journal import FOLDER_VARIABLE
from tests.chaos.stub_runner import stub_runner

_folder = Path(os.environ[FOLDER_VARIABLE])

app = create_worker_app(load_config(config_path()), runners={"docker": partial(stub_runner, run_folder=_folder)})
