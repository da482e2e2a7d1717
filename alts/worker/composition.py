"""Builds a worker from the configuration.

The only module of this room that imports the registries of runners and package managers.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from celery import Celery

from alts.client.worker_api import HttpLedger, worker_tokens
from alts.package_managers.registry import PACKAGE_MANAGERS
from alts.pipeline.plans import PLANS, with_timeouts
from alts.runners.base import Runner
from alts.runners.registry import RUNNERS, MakeRunner
from alts.shared.config import Config
from alts.shared.errors import AltsError, ConfigurationError
from alts.shared.freed_memory import return_freed_memory
from alts.shared.models.ledger import Ledger
from alts.shared.models.routing import queues_of
from alts.shared.storage.factory import artifact_store
from alts.worker.consumer import Consuming
from alts.worker.delivery import Delivery
from alts.worker.executor import Executor
from alts.worker.janitor import Janitor
from alts.worker.maintenance import Upkeep
from alts.worker.patience import Patience
from alts.worker.pending_reports import PendingReports
from alts.worker.presence import Presence
from alts.worker.process import worker_app
from alts.worker.readiness import Readiness, disk_trouble
from alts.worker.running import RunningAttempts
from alts.worker.spool import Spool
from alts.worker.work_folder import WorkFolder
from alts.worker.worker import Worker

_DAY = 86_400.0  # seconds; another installation on the same engine may keep its machines longer than this one


def create_worker_app(config: Config, *, runners: Mapping[str, MakeRunner] = RUNNERS) -> Celery:
    """Return the Celery application of a worker process. Its worker opens when Celery starts.

    `runners`: factories for the runners that the configuration names.
    Raises ConfigurationError if no runner serves this host's architecture: the worker would wait forever.
    """
    queues = queues_of(config.runners, config.worker_architectures)
    if not queues:
        raise ConfigurationError("runners", f"none serves this host's architecture, {config.host_architecture}")
    consuming = Consuming(queues)
    token = worker_tokens(config.workers_secret, algorithm=config.hmac_algorithm, worker=config.worker_name)

    def opened() -> AbstractContextManager[tuple[Worker, Upkeep]]:
        # The threads of tasks hold large texts for a moment: snapshots, logs, reports.
        return_freed_memory()
        return open_worker(config, HttpLedger(config.scheduler_url, token), consuming, runners=runners)

    return worker_app(config, consuming, opened)


@contextmanager
def open_worker(
    config: Config, ledger: Ledger, consuming: Consuming, *, runners: Mapping[str, MakeRunner] = RUNNERS
) -> Iterator[tuple[Worker, Upkeep]]:
    """Open a worker, and close it after the `with` block. Leftovers of its dead predecessors on this host are removed.

    `runners`: factories for the runners that the configuration names. The Upkeep is not entered yet.
    Raises ConfigurationError or InfrastructureError if the worker cannot run here.
    """
    with ExitStack() as stack:
        folder = WorkFolder(config.work_folder)
        stack.callback(folder.close)
        folder.reset()
        spool = Spool(folder.spool, artifact_store(config), limit=config.spool_limit_mb << 20)
        # The message about a failed start does not wait for uploads.
        stack.push(lambda _kind, error, _trace: spool.close(seconds=0.0 if isinstance(error, AltsError) else 5.0))
        made = _open_runners(config, folder, runners, stack)
        running = RunningAttempts()
        patience = Patience(threading.Event())
        reports = PendingReports(folder.reports)
        results_root = config.results_root_directory
        delivery = Delivery(ledger, reports, spool, patience=patience, results_root=results_root)
        janitor = Janitor(
            ledger,
            folder,
            made,
            running=running,
            reports=reports,
            artifacts=spool,
            longest_life=max(_DAY, 2 * (config.pool_max_age + config.task_timeout)),
        )
        worker = Worker(
            config,
            ledger,
            _executors(config, made, spool, worker=_worker_name(config, folder)),
            name=_worker_name(config, folder),
            folder=folder,
            running=running,
            readiness=_readiness(config, folder, spool, made.values()),
            janitor=janitor,
            delivery=delivery,
            patience=patience,
        )
        janitor.remove_predecessor()
        janitor.remove_dead()
        presence = Presence(worker, ledger, consuming)
        yield worker, Upkeep(presence, delivery, janitor, reap_interval=config.reap_interval)


def _open_runners(
    config: Config, folder: WorkFolder, factories: Mapping[str, MakeRunner], stack: ExitStack
) -> dict[str, Runner]:
    made: dict[str, Runner] = {}
    for name in config.runners:
        made[name] = factories[name](config, worker=folder.identity, folder=folder.shared)
        stack.callback(made[name].close)
    return made


def _worker_name(config: Config, folder: WorkFolder) -> str:
    """Return the name in the ledger and in reports: "name" for a host's first process, "name-2" for the second."""
    slot = folder.path.name
    return config.worker_name if slot == "1" else f"{config.worker_name}-{slot}"


def _executors(config: Config, runners: Mapping[str, Runner], spool: Spool, *, worker: str) -> dict[str, Executor]:
    plans = with_timeouts(PLANS, config.stage_timeouts)
    return {
        name: Executor(
            runner=runner,
            plans=plans,
            packages=PACKAGE_MANAGERS,
            artifacts=spool,
            artifacts_root=config.artifacts_root_directory,
            worker=worker,
            repository_max_age=config.repository_max_age,
        )
        for name, runner in runners.items()
    }


def _readiness(config: Config, folder: WorkFolder, spool: Spool, runners: Collection[Runner]) -> Readiness:
    """Check the own disk, the spool, the engines and their disks, the cheapest first."""
    disk = partial(disk_trouble, min_free_mb=config.min_free_disk_mb)

    def runners_disks() -> str:
        # Read at each check: an engine that is away now may return later.
        folders = dict.fromkeys(path for runner in runners for path in runner.folders())
        return next(filter(None, map(disk, folders)), "")

    return Readiness(
        (
            partial(disk, folder.path),
            lambda: spool.trouble,
            *(runner.trouble for runner in runners),
            runners_disks,
        )
    )
