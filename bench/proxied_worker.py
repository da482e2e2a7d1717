"""A real worker whose machines read Debian's archive through a proxy: `celery -A bench.proxied_worker worker ...`.

It reads ALTS_CONFIG, and the proxy's address from ALTS_BENCH_PROXY.
"""

from __future__ import annotations

import os

from alts.shared.config_file import config_path, load_config
from alts.worker.composition import create_worker_app
from bench.contenders import PROXY_VARIABLE, proxied

app = create_worker_app(load_config(config_path()), runners=proxied(os.environ[PROXY_VARIABLE]))
