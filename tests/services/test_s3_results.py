"""Celery's result summaries in S3, against a real server that checks signatures."""

from __future__ import annotations

import json
import secrets
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from celery.states import SUCCESS
from pydantic import SecretStr

from alts.shared.broker import celery_app
from alts.shared.config import Config
from alts.shared.config_file import parse_config
from alts.shared.models.celery_result import summary_content, summary_key, summary_of
from alts.shared.models.report import Outcome
from alts.shared.storage.factory import artifact_store
from tests.support.builders import a_report
from tests.support.s3 import PrivateS3

pytestmark = pytest.mark.services


def a_config(s3: PrivateS3, **changes: Any) -> Config:
    return parse_config(
        {
            "jwt_secret": secrets.token_hex(32),
            "broker": "memory",
            "s3_bucket": f"results-{secrets.token_hex(4)}",
            **s3.config,
            **changes,
        }
    )


def test_a_summary_is_kept_below_the_folder_for_results(s3: PrivateS3) -> None:
    config = a_config(s3, results_root_directory="summaries/of-tasks")
    artifact_store(config).check()  # creates the bucket
    task_id = str(uuid.uuid4())

    with celery_app(config) as app:
        app.backend.store_result(task_id, {"outcome": "passed"}, SUCCESS)

        assert app.AsyncResult(task_id).result == {"outcome": "passed"}

    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key,
    )
    key = f"summaries/of-tasks/celery-task-meta-{task_id}"
    assert [entry["Key"] for entry in client.list_objects_v2(Bucket=config.s3_bucket)["Contents"]] == [key]
    body = client.get_object(Bucket=config.s3_bucket, Key=key)["Body"].read()
    assert json.loads(body)["result"] == {"outcome": "passed"}


@pytest.mark.parametrize("storage", ["s3", "folder"])
def test_a_summary_that_we_write_ourselves_is_one_to_celery(s3: PrivateS3, tmp_path: Path, storage: str) -> None:
    config = a_config(s3, results_root_directory="summaries/of-tasks", storage=storage, storage_folder=str(tmp_path))
    report = a_report(task_id=str(uuid.uuid4()), artifacts="s3://here")
    summary = summary_of(report, Outcome.PASSED)

    with celery_app(config) as app:
        assert app.AsyncResult(report.task_id).state == "PENDING"
        key = summary_key(config.results_root_directory, report.task_id)
        artifact_store(config).put(key, summary_content(summary, now=datetime.now(UTC)))

        result = app.AsyncResult(report.task_id)
        assert (result.state, result.result) == (SUCCESS, summary)
        assert (datetime.now(UTC) - result.date_done).total_seconds() < 60


def test_a_summary_survives_the_server(s3: PrivateS3) -> None:
    config = a_config(s3)
    artifact_store(config).check()
    task_id = str(uuid.uuid4())
    with celery_app(config) as app:
        app.backend.store_result(task_id, {"outcome": "failed"}, SUCCESS)

        s3.kill()
        s3.start()

        assert app.AsyncResult(task_id).result == {"outcome": "failed"}


def test_a_wrong_secret_is_refused(s3: PrivateS3) -> None:
    config = a_config(s3)
    artifact_store(config).check()

    forged = config.model_copy(update={"s3_secret_access_key": SecretStr(secrets.token_hex(16))})
    with celery_app(forged) as app, pytest.raises(ClientError, match="403"):
        app.backend.store_result(str(uuid.uuid4()), {}, SUCCESS)
