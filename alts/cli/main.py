"""The `alts` command: the whole service in one process, and a token for it."""

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
from alts.shared.auth.tokens import issue_token
from alts.shared.config import ASYMMETRIC, Config, load_config
from alts.shared.errors import AltsError, ConfigurationError
from alts.shared.logs import log_to_file
from alts.shared.models.consent import ANY, Consent
from alts.shared.models.report import Outcome

DEFAULT_CONFIG = Path("configs/embedded.yaml")
LOCAL_EMAIL = "you@localhost"
TOKEN_LIFETIME = timedelta(days=1)
HOST = "127.0.0.1"
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; its exit code. What is wrong with the machine or the configuration is one line on stderr."""
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
    run = commands.add_parser("run", help="start scheduler and worker here, test a package, go on serving")
    run.add_argument("--port", type=int, default=8000, help="of the API on 127.0.0.1 (default: 8000)")
    run.add_argument("--package", default="hello", help="to test first (default: hello)")
    run.add_argument("--version", default=None, help="of that package (default: the newest)")
    run.add_argument("--distribution", default="debian-12", help="such as debian-12 (the default)")
    run.add_argument("--once", action="store_true", help="end after the verdict: 0 passed, 1 failed, 2 errored")
    run.add_argument("--log-file", type=Path, default=Path(".alts/alts.log"), help="(default: .alts/alts.log)")
    lost = run.add_mutually_exclusive_group()
    lost.add_argument("--new-ledger", action="store_true", help="where the ledger is lost: begin an empty one")
    lost.add_argument("--accept-ledger", action="store_true", help="where it is an old copy: go on with what is there")
    token = commands.add_parser("token", help="print a token for the service that `alts run` started")
    for command in (run, token):
        command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help=f"(default: {DEFAULT_CONFIG})")
    return parser


def _run(config: Config, options: argparse.Namespace) -> int:
    _token(config)
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
        # With --once the verdict is missing; a service that was told to end has done so.
        return INTERRUPTED if options.once and verdict == INTERRUPTED else 0
    return verdict


def _consent(options: argparse.Namespace) -> Consent:
    said = Consent.of(os.environ)
    return Consent(ANY if options.new_ledger else said.new, ANY if options.accept_ledger else said.accept)


class _Ending:
    """Ctrl-C, and SIGTERM, with which make and service managers end us; either may come in the middle of a task.

    The first one leaves the stack, which gives running tasks `drain_timeout` seconds; another one hurries it.
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
        _say("ending; once more to hand running tasks back at once")
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
    _say(
        f"testing {options.package} on {options.distribution}; the first time its base image is made, in half a minute"
    )
    try:
        return try_package(url, _token(config), request, say=_say)
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
    """Raises ConfigurationError where the key that makes tokens is not ours to have."""
    if config.jwt_algorithm in ASYMMETRIC:
        raise ConfigurationError(
            "jwt_algorithm",
            f"tokens for {config.jwt_algorithm} are made with a private key, which is not here",
            resolution="HS256, or make one with: generate_jwt_token.py -k FILE",
        )
    return issue_token(config.jwt_secret, algorithm=config.jwt_algorithm, email=LOCAL_EMAIL, lifetime=TOKEN_LIFETIME)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
