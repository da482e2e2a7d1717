"""Run Ansible through ansible-runner. Only this file knows its settings and events."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_runner import AnsibleRunnerException, Runner, RunnerConfig
from pexpect.exceptions import ExceptionPexpect  # type: ignore[import-untyped]

from alts.core.instance import InstanceFile
from alts.core.output import BoundedOutput, OutputSink
from alts.core.stop import Stop, Stopped
from alts.host.process import kill_by_variable
from alts.provisioning.machine_files import batches
from alts.shared.errors import ProvisionFailed

_SETTINGS_NAME = "ansible.cfg"
_LOOK_INTERVAL = 0.1  # seconds between two checks of the Stop
_DETAIL_LINES = 30

_MARK = "AWX_ISOLATED_DATA_DIR"
"""Variable with the folder of a run's files, for ansible-runner's callback plugin. All processes of a run have it."""

# Variables that ansible-runner sets and its callback plugin reads.
_RUNNER_VARIABLES = (
    "ANSIBLE_CALLBACK_PLUGINS",
    "ANSIBLE_STDOUT_CALLBACK",
    _MARK,
    "RUNNER_OMIT_EVENTS",
    "RUNNER_ONLY_FAILED_EVENTS",
)


def prepare_variables(files: Sequence[InstanceFile]) -> dict[str, object]:
    """Return the variables of resources/ansible/prepare.yml, which writes the files: {"batches": [[{...}, ...]]}.

    There is at least one batch, which may be empty: its command shows that the machine answers.
    Raises ValueError for a path or a mode that is not plain.
    """
    return {"batches": [[piece.variables for piece in batch] for batch in batches(files)]}


def run_playbook(
    playbook: Path,
    *,
    hosts: Mapping[str, Mapping[str, str]],
    variables: Mapping[str, object],
    folder: Path,
    stop: Stop,
    sink: OutputSink,
) -> str:
    """Run a playbook on machines at once. Returns the version that ansible reports in the run, e.g. "2.19.14".

    `hosts`: name → the machine's variables in the inventory, e.g. {"ansible_connection": ..., "ansible_host": ...}.
    Ansible treats `variables` as templates, so callers' data must be encoded in them. All files go into a new folder
    below `folder`. The playbook must show ansible_version.full with a debug task.
    Raises ProvisionFailed with the output of the failing task in `details`, or Stopped.
    """
    stop.check()
    home = Path(tempfile.mkdtemp(prefix="ansible-", dir=folder)).absolute()
    heard = _Heard(sink)
    inventory = {"all": {"hosts": {name: dict(connection) for name, connection in hosts.items()}}}
    config = _config(home, playbook.absolute(), inventory, variables)
    runner = Runner(config, event_handler=heard, cancel_callback=lambda: stop.reason is not None)
    try:
        status, exit_code = runner.run()
    except (AnsibleRunnerException, ExceptionPexpect, OSError) as error:
        raise ProvisionFailed("ansible could not be run", details=f"{error}\n{heard.tail()}") from error
    finally:
        # ansible's workers run in their own sessions, so ansible-runner's kill after a cancel does not reach them.
        kill_by_variable(_MARK, config.env[_MARK])
    if status == "canceled" and (reason := stop.reason):
        raise Stopped(reason)
    if status != "successful":
        raise ProvisionFailed(
            f"ansible failed in {playbook.name} (exit code {exit_code})", details=heard.failure or heard.tail()
        )
    if heard.version is None:
        raise ProvisionFailed(f"{playbook.name} does not show ansible_version.full", retryable=False)
    return heard.version


class _Heard:
    """Output, failure and version from the events of a run."""

    def __init__(self, sink: OutputSink) -> None:
        self.output = BoundedOutput(sink)
        self.failure = ""
        self.version: str | None = None

    def __call__(self, event: Mapping[str, Any]) -> bool:
        """Handle an event. Returns False: ansible-runner writes no file of the event."""
        text = str(event.get("stdout", "")).replace("\r\n", "\n")
        if text:
            self.output.write(text + "\n")
        result = event.get("event_data", {}).get("res") or {}
        if event.get("event") in ("runner_on_failed", "runner_on_unreachable", "runner_item_on_failed"):
            self.failure = self.failure or _explained(event["event_data"].get("task", ""), result, text)
        if isinstance(result, dict) and "ansible_version.full" in result:
            self.version = str(result["ansible_version.full"])
        return False

    def tail(self) -> str:
        return "\n".join(self.output.text().splitlines()[-_DETAIL_LINES:])


def _explained(task: str, result: Mapping[str, Any], text: str) -> str:
    """Return the task's name and its command's output; ansible's own message if no command ran."""
    said = [str(result[key]).strip() for key in ("stdout", "stderr", "msg") if result.get(key)]
    lines = ("\n".join(said) or text).splitlines()
    return "\n".join([f"{task}:", *lines[-_DETAIL_LINES:]])


def _config(
    home: Path, playbook: Path, inventory: Mapping[str, object], variables: Mapping[str, object]
) -> RunnerConfig:
    """Return the configuration of a run. ansible-runner and ansible write only below `home`.

    ansible_runner.run() is not used: it silences the root logger and, in the main thread, takes over signals.
    """
    for name in ("home", "tmp", "env"):
        (home / name).mkdir()
    settings = {"pexpect_timeout": _LOOK_INTERVAL, "suppress_output_file": True, "suppress_ansible_output": True}
    # JSON is YAML, so ansible's and ansible-runner's loaders read it. Settings given as an argument are ignored.
    for name, data in (("env/settings", settings), ("env/extravars", variables), ("inventory.yml", inventory)):
        (home / name).write_text(json.dumps(data), encoding="utf-8")
    environment = {
        # ansible-playbook is next to the worker's Python, even if no virtualenv is activated.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(home / "home"),
        "TMPDIR": str(home / "tmp"),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "ANSIBLE_CONFIG": str(playbook.with_name(_SETTINGS_NAME)),
        "ANSIBLE_HOME": str(home / "home"),
        "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
        "ANSIBLE_CALLBACK_PLUGINS": "",
    }
    config = RunnerConfig(
        private_data_dir=str(home),
        playbook=str(playbook),
        inventory=str(home / "inventory.yml"),
        envvars=environment,
        ident="run",
        fact_cache_type="memory",
        quiet=True,
    )
    config.prepare()
    # ansible-runner starts from the worker's whole environment, secrets included, and writes it to a file.
    config.env = environment | {name: config.env[name] for name in _RUNNER_VARIABLES if name in config.env}
    return config
