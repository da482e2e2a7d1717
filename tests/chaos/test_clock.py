"""The clock that a test sets for another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.clock import WallClock
from tests.support.checkout import ROOT

# Prints how far time.time(), datetime.now() and the monotonic clock are ahead of the start, at each line it reads.
PROGRAM = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from tests.chaos.clock import follow
real, steady = time.time(), time.monotonic()
follow(Path(sys.argv[1]))
for _ in sys.stdin:
    seen = time.time() - real, datetime.now(UTC).timestamp() - real, time.monotonic() - steady
    print(*(round(one / 3600) for one in seen), flush=True)
"""


@pytest.mark.slow
def test_a_process_has_the_time_that_is_set_and_its_monotonic_clock_goes_on(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    clock.set(7200)
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "clock")]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    ) as process:
        assert process.stdin
        assert process.stdout

        def seen() -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write("now\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert seen() == "2 2 0"
        clock.set(-10800)
        assert seen() == "-3 -3 0"
        process.stdin.close()
        process.wait(30)
