"""The import rules: import-linter's contracts (pyproject.toml), and one home for each outside library."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import ROOT

SOURCES = sorted([*ROOT.glob("alts/**/*.py"), *ROOT.glob("scheduler/**/*.py")])

HOMES = {
    "docker": {
        "alts.runners.docker.engine",
        "alts.runners.docker.errors",
        "alts.runners.docker.instance",
        "alts.runners.docker.pull",
        "alts.runners.docker.provider.resources",
    },
    "boto3": {"alts.shared.storage.s3"},
    "botocore": {"alts.shared.storage.s3"},
    "jwt": {"alts.shared.auth.tokens", "alts.shared.auth.keys"},
    "cryptography": {"alts.shared.auth.keys"},
    "python_terraform": {"alts.provisioning.terraform.cli"},
    "ansible_runner": {"alts.provisioning.ansible"},
    "yaml": {"alts.shared.config_file", "alts.checks.state.rules"},
    "kombu": {"alts.shared.broker", "alts.shared.memory_broker"},
    "structlog": {
        "alts.shared.logs",
        "alts.worker.celery_task",
        "alts.worker.delivery",
        "scheduler.background.relay",
    },
    "httpx": {
        "alts.host.download",
        "alts.client.answers",
        "alts.client.worker_api",
        "alts.cli.submit",
        "alts.cli.main",
    },
    "sqlalchemy": {
        "scheduler.ledger.attempts",
        "scheduler.ledger.database",
        "scheduler.ledger.database_errors",
        "scheduler.ledger.history",
        "scheduler.ledger.idempotency",
        "scheduler.ledger.identity",
        "scheduler.ledger.leases",
        "scheduler.ledger.lock",
        "scheduler.ledger.migrations.steps",
        "scheduler.ledger.outbox",
        "scheduler.ledger.presence",
        "scheduler.ledger.queue",
        "scheduler.ledger.rows",
        "scheduler.ledger.schema",
        "scheduler.ledger.tables",
        "scheduler.ledger.tasks",
        "scheduler.ledger.transitions",
    },
    "anyio": {"scheduler.api.threads"},
    "limits": {"scheduler.admission.rate_limit"},
    "alembic": {"scheduler.ledger.migrations.env", "scheduler.ledger.migrations.steps"},
    "subprocess": {"alts.host.process", "alts.runners.docker.provider.process"},
}
"""Library → the only modules that may import it."""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    return tuple(_imports(tree_of(path)))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of(package: str) -> set[str]:
    return {
        module_of(path)
        for path in SOURCES
        for name in imports_of(path)
        if name == package or name.startswith(f"{package}.")
    }


def test_imports_keep_the_contracts() -> None:
    # Runs in a separate process, because import-linter disables every existing logger (logging.config.dictConfig).
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("library", "homes"), HOMES.items(), ids=HOMES)
def test_an_outside_library_has_one_home(library: str, homes: set[str]) -> None:
    # A migration never changes, even if its tools move.
    assert {
        name for name in importers_of(library) if not name.startswith("scheduler.ledger.migrations.versions.")
    } == homes


def test_only_the_entry_points_read_a_configuration_file() -> None:
    readers = importers_of("alts.shared.config_file.load_config")

    assert readers == {"alts.app", "alts.cli.main", "scheduler.app"}


def test_broad_excepts_are_only_where_a_bug_must_not_lose_tasks() -> None:
    broad = {
        module_of(path)
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
        and not any(isinstance(step, ast.Raise) and step.exc is None for step in ast.walk(node))
    }

    assert broad == {"alts.worker.celery_task", "alts.shared.periodic"}


# Rooms that work with any kind of machine. alts.images makes images for Docker, and the configuration names its keys.
ANY_MACHINE = ("core", "host", "client", "provisioning", "checks", "pipeline", "runners", "worker", "embedded")
KINDS = re.compile(r"docker|container", re.IGNORECASE)


def words_of(tree: ast.Module) -> Iterator[str]:
    """Yield names and texts in the code, without comments and docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = {
        id(statement.value)
        for node in ast.walk(tree)
        if isinstance(node, documented)
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        for name in ("id", "attr", "arg", "name"):
            yield str(getattr(node, name, ""))


def test_outside_its_folder_nothing_knows_that_a_machine_is_a_container() -> None:
    of_docker = ROOT / "alts/runners/docker"
    # The registry names the folder.
    files = [
        file
        for file in SOURCES
        if file.relative_to(ROOT).parts[:2] in {("alts", room) for room in ANY_MACHINE}
        and of_docker not in file.parents
        and file != ROOT / "alts/runners/registry.py"
    ]

    assert len(files) > 50
    known = {file: [word for word in words_of(ast.parse(file.read_text())) if KINDS.search(word)] for file in files}
    assert {file: words for file, words in known.items() if words} == {}
