"""Housekeeping tasks count how their runs ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.router.engines.celery.app import make_celery_app
from services.router.engines.celery.housekeeping import REMOVE_OLD_BLOBS, add_housekeeping
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.telemetry import metric_names, names
from tests.metric_reader import MetricReader, metric_reader


@pytest.fixture
def reader() -> Iterator[MetricReader]:
    """The metrics of this process."""
    with metric_reader() as reader:
        yield reader


def _run(settings: Settings) -> None:
    app = make_celery_app(settings)
    add_housekeeping(app, settings)
    try:
        app.tasks[REMOVE_OLD_BLOBS]()
    finally:
        app.close()


def test_a_run_and_what_it_removed(reader: MetricReader, tmp_path: Path) -> None:
    """An old blob is gone and counted."""
    blob = tmp_path / "blobs" / "old"
    blob.parent.mkdir()
    blob.write_bytes(b"old")
    os.utime(blob, (0, 0))
    _run(Settings(blob_url=blob.parent.as_uri(), blob_retention_seconds=60))
    assert not blob.exists()
    assert reader.values(metric_names.HOUSEKEEPING_RUNS, names.HOUSEKEEPING_OUTCOME) == {"done": 1}
    assert reader.values(metric_names.BLOBS_REMOVED, "") == {"": 1}


def test_a_run_that_fails(reader: MetricReader) -> None:
    """It is counted as such, and fails all the same."""
    with pytest.raises(ConfigurationError):
        _run(Settings(blob_url="memory://blobs", blob_retention_seconds=60))
    assert reader.values(metric_names.HOUSEKEEPING_RUNS, names.HOUSEKEEPING_OUTCOME) == {"failed": 1}
