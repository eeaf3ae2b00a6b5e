"""Files and blobs: where they lie, and how long."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

from platformdirs import user_state_path
from pydantic import BaseModel, Field, PositiveFloat, field_validator

from shared.blobs.directory import blob_directory
from shared.errors import ConfigurationError


class StorageSettings(BaseModel):
    """State of this machine, and the store of large results."""

    data_dir: Path = Field(
        default_factory=lambda: user_state_path("eldermesh"), description="Where all state of this machine lies."
    )
    heartbeat_file: Path | None = Field(
        None,
        description="A service writes it while it works, for the health check of its container. Each process needs"
        " its own.",
    )
    blob_url: str | None = Field(None, description="fsspec URL for large results; a directory of the data dir.")
    blob_retention_seconds: PositiveFloat | None = Field(
        None,
        description="Celery Beat has every file of this age in the blob directory removed, so keep no others there."
        " Without it none is removed. URLs of removed blobs lead nowhere: choose longer than anybody reads"
        " `jobs.progress`.",
    )
    housekeeping_seconds: Annotated[float, Field(ge=1)] = Field(
        3600.0, description="Time between two housekeeping tasks that Celery Beat sends."
    )

    @field_validator("blob_url")
    @classmethod
    def _a_blob_store(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                blob_directory(value)
            except RuntimeError as error:  # `~nobody`
                raise ValueError(str(error)) from error
            except OSError as error:
                raise ValueError(f"it is relative, and the working directory: {error.strerror}") from error
        return value

    @cached_property
    def blobs(self) -> str:
        """The blob store's URL, the default applied.

        Raises:
            ConfigurationError: the data directory is relative, and the working directory is gone.
        """
        if self.blob_url:
            return self.blob_url
        try:
            return (self.data_dir.absolute() / "blobs").as_uri()
        except OSError as error:
            raise ConfigurationError(
                f"MESH_DATA_DIR is relative, and the working directory: {error.strerror}"
            ) from error
