"""The `alts` command: run the whole service in one process, or print a token for it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from alts.cli.submit import EXIT_CODES, try_package
from alts.client.answers import detail_of
from alts.embedded.stack import EmbeddedStack
from alts.shared.auth.secret_strength import ASYMMETRIC
from alts.shared.auth.tokens import issue_token
from alts.shared.config import Config
from alts.shared.config_file import load_config
from alts.shared.errors import AltsError, ConfigurationError
from alts.shared.logs import log_to_file
from alts.shared.models.consent import ANY, Consent
from alts.shared.models.report import Outcome

DEFAULT_CONFIG = Path("configs/embedded.yaml")
LOCAL_EMAIL = "you@localhost"
TOKEN_LIFETIME = timedelta(days=1)
HOST = "127.0.0.1"
INTERRUPTED = 130  # exit code of a process ended by SIGINT, as shells report it


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand and return its exit code.

    Errors of the machine or the configuration are printed on stderr: one line, then details if there are any.
    """
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config, make_secret=options.command == "run")
        if options.command == "token":
            print(_token(config))
            return 0
        return _run(config, options)
    except AltsError as error:
        print(f"alts: {error}", file=sys.stderr)
        if error.details:
            print(error.details, file=sys.stderr)
        return EXIT_CODES[Outcome.ERRORED]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="alts", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start scheduler and worker in this process, test a package, keep serving")
    run.add_argument("--port", type=int, default=8000, help="port of the API on 127.0.0.1 (default: 8000)")
    run.add_argument("--package", default="hello", help="first package to test (default: hello)")
    run.add_argument("--version", default=None, help="version of that package (default: the newest)")
    run.add_argument("--distribution", default="debian-12", help="distribution to test on (default: debian-12)")
    run.add_argument("--once", action="store_true", help="exit after the verdict: 0 passed, 1 failed, 2 errored")
    run.add_argument("--profile", action="store_true", help="after the verdict, print what the time went into")
    run.add_argument("--log-file", type=Path, default=Path(".alts/alts.log"), help="log file (default: .alts/alts.log)")
    lost = run.add_mutually_exclusive_group()
    lost.add_argument("--new-ledger", action="store_true", help="if the ledger is lost: begin an empty one")
    lost.add_argument("--accept-ledger", action="store_true", help="if the ledger is an old copy: go on with it")
    token = commands.add_parser("token", help="print a token for the service that `alts run` started")
    for command in (run, token):
        command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help=f"file (default: {DEFAULT_CONFIG})")
    return parser


def _run(config: Config, options: argparse.Namespace) -> int:
    _token(config)
    if options.once:
        # A second machine would be of no use.
        config = config.model_copy(update={"pool_size": 0})
    _say(f"log file: {options.log_file}")
    log_to_file(options.log_file, logging.INFO)
    stack = EmbeddedStack(config, host=HOST, port=options.port, consent=_consent(options))
    ending = _Ending(stack)
    verdict = INTERRUPTED
    try:
        with stack:
            _say(f"serving on {stack.url}")
            verdict = _first_task(stack.url, config, options)
            if not options.once:
                _say_how_to_go_on(stack.url)
                signal.pause()
            ending.begun = True
    except KeyboardInterrupt:
        _say("stopped")
        # With --once a missing verdict is a failure. A service that was told to end has succeeded.
        return INTERRUPTED if options.once and verdict == INTERRUPTED else 0
    return verdict


def _consent(options: argparse.Namespace) -> Consent:
    said = Consent.of(os.environ)
    return Consent(ANY if options.new_ledger else said.new, ANY if options.accept_ledger else said.accept)


class _Ending:
    """Handler of SIGINT (Ctrl-C) and SIGTERM (make, service managers). Both may arrive during a task.

    The first signal leaves the stack, which gives running tasks `drain_timeout` seconds. A second one hurries it.
    """

    def __init__(self, stack: EmbeddedStack) -> None:
        self._stack = stack
        self.begun = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self.begun:
            self._stack.hurry()
            return
        self.begun = True
        _say("ending; repeat to hand running tasks back at once")
        raise KeyboardInterrupt


def _first_task(url: str, config: Config, options: argparse.Namespace) -> int:
    name, _, version = options.distribution.rpartition("-")
    request: dict[str, Any] = {
        "runner_type": "docker",
        "dist_name": name,
        "dist_version": version,
        "dist_arch": config.host_architecture,
        "package_name": options.package,
        "package_version": options.version,
    }
    _say(f"testing {options.package} on {options.distribution}; the first run makes its base image (half a minute)")
    try:
        return try_package(url, _token(config), request, say=_say, profile=options.profile)
    except httpx.HTTPStatusError as error:
        _say(f"the service answered {error.response.status_code}: {detail_of(error.response)}")
        return EXIT_CODES[Outcome.ERRORED]
    except httpx.HTTPError as error:
        _say(f"the service did not answer: {error}")
        return EXIT_CODES[Outcome.ERRORED]


def _say_how_to_go_on(url: str) -> None:
    _say("")
    _say(f"browse   {url}/docs  (Authorize with a token)")
    _say("token    make -s token")
    _say("stop     Ctrl-C")


def _token(config: Config) -> str:
    """Raises ConfigurationError if tokens need a private key, which the service does not hold."""
    if config.jwt_algorithm in ASYMMETRIC:
        raise ConfigurationError(
            "jwt_algorithm",
            f"{config.jwt_algorithm} tokens need a private key, which the service does not hold",
            resolution="use HS256, or make a token with: generate_jwt_token.py -k FILE",
        )
    return issue_token(config.jwt_secret, algorithm=config.jwt_algorithm, email=LOCAL_EMAIL, lifetime=TOKEN_LIFETIME)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
