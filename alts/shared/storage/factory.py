"""Choice of the artifact store by the configuration."""

from __future__ import annotations

from alts.shared.config import Config
from alts.shared.storage.base import ArtifactStore
from alts.shared.storage.local import FolderStore


def artifact_store(config: Config) -> ArtifactStore:
    """Return the store that `config.storage` names. Connects to nothing."""
    if config.storage == "folder":
        return FolderStore(config.storage_folder)
    # boto3 takes a quarter of a second to import, and an embedded service has no use for it.
    from alts.shared.storage.s3 import S3Store  # noqa: PLC0415

    return S3Store(
        endpoint_url=config.s3_endpoint_url,
        region=config.s3_region,
        bucket=config.s3_bucket,
        access_key_id=config.s3_access_key_id,
        secret_access_key=config.s3_secret_access_key,
    )
