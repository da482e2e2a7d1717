"""The embedded service as a process, with stub machines: `python -m tests.chaos.embedded_app CONFIG PORT FOLDER`.

It ends on SIGTERM. It prints "serving" on standard output when it answers.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

from alts.embedded.stack import EmbeddedStack
from alts.shared.config_file import load_config
from alts.shared.logs import log_to_stderr
from tests.chaos.journalled_runner import stub_runner


def main() -> None:
    config, port, folder = load_config(Path(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
    log_to_stderr()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    runners = {"docker": partial(stub_runner, run_folder=folder)}
    with EmbeddedStack(config, host="127.0.0.1", port=port, runners=runners):
        print("serving", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
