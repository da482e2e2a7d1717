"""Artifacts in S3 or a server with its protocol. The only user of boto3."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from alts.shared.errors import StorageUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ABSENT = ("NoSuchKey", "404")
_NO_BUCKET = ("NoSuchBucket", "404")


class S3Store:
    """An alts.shared.storage.base.ArtifactStore in one bucket, which is made if it does not exist."""

    def __init__(
        self, *, endpoint_url: str | None, region: str, bucket: str, access_key_id: str, secret_access_key: SecretStr
    ) -> None:
        self._bucket = bucket
        self._region = region
        self._bucket_lock = threading.Lock()
        self._bucket_known = False
        self._client: S3Client = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key.get_secret_value(),
            config=BotoConfig(
                signature_version="s3v4",
                s3={"addressing_style": "path"},
                connect_timeout=3,
                read_timeout=30,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        )

    def put(self, key: str, content: bytes, *, content_type: str = "text/plain; charset=utf-8") -> None:
        """See ArtifactStore. Makes the bucket first if needed."""
        self.ensure_bucket()
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(f"cannot write {self.location(key)}: {error}") from error

    def get(self, key: str) -> bytes:
        """See ArtifactStore."""
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _ABSENT:
                raise KeyError(key) from None
            raise StorageUnavailable(f"cannot read {self.location(key)}: {error}") from error
        except BotoCoreError as error:
            raise StorageUnavailable(f"cannot read {self.location(key)}: {error}") from error
        return body

    def location(self, key: str) -> str:
        """Return an s3:// URL."""
        return f"s3://{self._bucket}/{key}"

    def check(self) -> None:
        """Make the bucket if needed, and ask the server for it. Raises StorageUnavailable."""
        self.ensure_bucket()
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except (BotoCoreError, ClientError) as error:
            raise StorageUnavailable(f"the bucket {self._bucket} cannot be reached: {error}") from error

    def ensure_bucket(self) -> None:
        """Make the bucket if it does not exist. Asks only until the first success. Raises StorageUnavailable."""
        with self._bucket_lock:
            if self._bucket_known:
                return
            try:
                self._make_bucket()
            except (BotoCoreError, ClientError) as error:
                raise StorageUnavailable(f"the bucket {self._bucket} cannot be reached: {error}") from error
            self._bucket_known = True

    def _make_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_BUCKET:
                raise
            # S3 accepts every region here except us-east-1, its default (CreateBucket, LocationConstraint).
            if self._region == "us-east-1":
                self._client.create_bucket(Bucket=self._bucket)
            else:
                self._client.create_bucket(
                    Bucket=self._bucket,
                    CreateBucketConfiguration={"LocationConstraint": self._region},  # type: ignore[typeddict-item]
                )
