"""A worker process of a chaos run: the real worker with a runner that keeps a journal.

`celery -A tests.chaos.worker_app worker ...` reads ALTS_CONFIG as usual, and the run's folder from ALTS_CHAOS_FOLDER.
The machines are real if ALTS_CHAOS_REAL is set.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from alts.shared.config_file import config_path, load_config
from alts.worker.composition import create_worker_app
from tests.chaos.journal import FOLDER_VARIABLE, REAL_VARIABLE
from tests.chaos.journalled_runner import real_runner, stub_runner

_folder = Path(os.environ[FOLDER_VARIABLE])
_runner = real_runner if os.environ.get(REAL_VARIABLE) else stub_runner

app = create_worker_app(load_config(config_path()), runners={"docker": partial(_runner, run_folder=_folder)})
