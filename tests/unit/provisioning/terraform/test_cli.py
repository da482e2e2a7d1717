"""Our requests to terraform, and our reading of its answers. A script plays terraform."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from alts.core.stop import Stop, Stopped, StopReason
from alts.provisioning.terraform.cli import Terraform, find_terraform, launcher_for_wheel, write_override
from alts.shared.errors import ConfigurationError, InfrastructureError, ProvisionFailed
from tests.support.checkout import ROOT

MODULE = ROOT / "resources" / "terraform" / "docker"

Make = Callable[..., Terraform]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a Terraform whose program is a shell script."""

    def make(script: str, *, environment: dict[str, str] | None = None, heard: list[str] | None = None) -> Terraform:
        program = tmp_path / "fake-terraform"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        folder = tmp_path / "module"
        folder.mkdir(exist_ok=True)
        sink = heard.append if heard is not None else lambda text: None
        return Terraform(folder, executable=program, environment=environment or {}, sink=sink)

    return make


def test_the_version_is_what_the_program_says(make: Make) -> None:
    terraform = make("echo 'Terraform v1.11.4'; echo 'on linux_amd64'")

    assert terraform.version(Stop(10)) == "1.11.4"


def test_a_program_that_says_no_version_is_no_terraform(make: Make) -> None:
    with pytest.raises(ProvisionFailed, match="did not report its version") as caught:
        make("echo 'OpenTofu v1.9'").version(Stop(10))

    assert "OpenTofu" in caught.value.details


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda terraform: terraform.initialise(Stop(10)), {"init", "-input=false", "-no-color"}),
        (lambda terraform: terraform.remove(Stop(10)), {"destroy", "-input=false", "-no-color", "-auto-approve"}),
    ],
    ids=["init", "destroy"],
)
def test_it_is_asked_without_questions_and_without_flags_that_terraform_has_dropped(
    make: Make, call: Callable[[Terraform], None], expected: set[str]
) -> None:
    heard: list[str] = []

    call(make('printf "%s\\n" "$@"', heard=heard))

    asked = set("".join(heard).split())
    assert asked >= expected
    assert not asked & {"-force", "-var-file"}


def test_create_writes_the_variables_as_data_and_gives_plain_outputs(make: Make, tmp_path: Path) -> None:
    outputs = json.dumps({"id": {"sensitive": False, "type": "string", "value": "abc"}, "n": {"value": 3}})
    terraform = make(f"case $1 in output) echo '{outputs}';; *) echo \"$@\";; esac")

    assert terraform.create({"name": '${file("/etc/passwd")}', "labels": {"a": "%{b}"}}, Stop(10)) == {
        "id": "abc",
        "n": 3,
    }
    written = json.loads((tmp_path / "module" / "terraform.tfvars.json").read_text())
    assert written == {"name": '${file("/etc/passwd")}', "labels": {"a": "%{b}"}}


def test_it_sees_only_the_environment_that_it_needs(make: Make, tmp_path: Path) -> None:
    heard: list[str] = []

    make("env", environment={"TF_REATTACH_PROVIDERS": "{}"}, heard=heard).initialise(Stop(10))

    seen = dict(line.split("=", 1) for line in "".join(heard).splitlines())
    assert set(seen) - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        "PATH",
        "HOME",
        "TF_IN_AUTOMATION",
        "TF_INPUT",
        "CHECKPOINT_DISABLE",
        "TF_CLI_CONFIG_FILE",
        "TF_REATTACH_PROVIDERS",
    }
    assert seen["HOME"] == str(tmp_path / "module")


def test_a_failure_tells_its_error_without_colours_and_frames(make: Make) -> None:
    error = r"\033[31m╷\033[0m\n│ \033[1mError: no such image\033[0m\n│ \n│   on main.tf\n╵\n"
    script = f"echo working; printf '{error}' >&2; exit 1"

    with pytest.raises(ProvisionFailed, match=r"terraform init failed \(exit code 1\)") as caught:
        make(script).initialise(Stop(10))

    assert caught.value.details.splitlines()[0] == "Error: no such image"
    assert not set("\033│╷") & set(caught.value.details)
    assert caught.value.retryable


def test_a_failure_without_an_error_tells_the_last_lines(make: Make) -> None:
    with pytest.raises(ProvisionFailed) as caught:
        make("seq 1 100; exit 2").initialise(Stop(10))

    assert caught.value.details.splitlines()[-1] == "100"
    assert len(caught.value.details.splitlines()) <= 30


def test_outputs_that_are_not_json_are_told(make: Make) -> None:
    with pytest.raises(ProvisionFailed, match="not JSON"):
        make("echo 'Warning: odd'").create({}, Stop(10))


def test_a_cancel_lets_terraform_write_down_what_it_has_made(make: Make, tmp_path: Path) -> None:
    stop = Stop(60)
    script = "trap 'echo made > state; exit 1' INT; echo started; while :; do sleep 0.05; done"
    terraform = make(script)
    threading.Timer(0.5, stop.request, [StopReason.CANCELLED]).start()

    with pytest.raises(Stopped) as caught:
        terraform.initialise(stop)

    assert caught.value.reason is StopReason.CANCELLED
    assert (tmp_path / "module" / "state").read_text() == "made\n"


def test_a_state_that_was_cut_short_does_not_keep_us_from_calling_terraform(make: Make, tmp_path: Path) -> None:
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "terraform.tfstate").write_text('{"version": 4, "resou')

    make("exit 0").remove(Stop(10))


def test_a_terraform_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    terraform = Terraform(tmp_path, executable=tmp_path / "gone", environment={}, sink=lambda text: None)

    with pytest.raises(InfrastructureError, match="gone"):
        terraform.initialise(Stop(10))


def test_the_configured_terraform_goes_before_the_one_in_path(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)

    assert find_terraform(str(program), folder=tmp_path) == program


def test_a_configured_terraform_that_is_not_there_is_the_configurations_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not an executable program") as caught:
        find_terraform(str(tmp_path / "gone"), folder=tmp_path)

    assert caught.value.key == "terraform"


def test_the_wheels_terraform_runs_by_a_script_that_needs_no_environment(tmp_path: Path) -> None:
    launcher = launcher_for_wheel(tmp_path / "new folder")

    done = subprocess.run(
        [launcher, "version"], env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("Terraform v1.")
    assert launcher.parent == tmp_path / "new folder"


def test_the_wheels_terraform_gives_its_exit_code(tmp_path: Path) -> None:
    done = subprocess.run([launcher_for_wheel(tmp_path), "no-such-command"], env={}, capture_output=True, check=False)

    assert done.returncode == 1


def test_an_override_is_written_where_terraform_merges_it_over_the_module(tmp_path: Path) -> None:
    write_override(tmp_path, {"terraform": {"required_version": ">= 1.5"}})

    override = json.loads((tmp_path / "runner_override.tf.json").read_text())
    assert override == {"terraform": {"required_version": ">= 1.5"}}


def test_every_variable_of_the_module_is_declared_once() -> None:
    text = (MODULE / "variables.tf").read_text()
    used = (MODULE / "main.tf").read_text()

    for name in ("docker_host", "machines", "image", "memory_mb", "cpus", "network_options"):
        assert text.count(f'variable "{name}"') == 1
        assert f"var.{name}" in used
