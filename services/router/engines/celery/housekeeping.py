"""Housekeeping tasks: Beat sends them, a worker runs them. Nothing that becomes of a job depends on one.

Each may run twice, or twice at once: two Beats do no harm.
"""

from __future__ import annotations

from celery import Celery
from opentelemetry import metrics

from eldermesh.counted import counted
from services.router.engines.celery.app import HOUSEKEEPING_QUEUE
from shared.blobs.retention import remove_old_blobs, retained_directory
from shared.logs.setup import get_logger
from shared.settings import Settings
from shared.telemetry import metric_names, names

REMOVE_OLD_BLOBS = "eldermesh.remove_old_blobs"

_MOST_BLOBS = 10_000
_RUN_SECONDS = 60.0
_TIME_LIMIT_SECONDS = 300

_log = get_logger(__name__)


def add_housekeeping(app: Celery, settings: Settings) -> None:
    """Let the workers of this application run housekeeping tasks."""

    @app.task(name=REMOVE_OLD_BLOBS, time_limit=_TIME_LIMIT_SECONDS, shared=False)
    def remove() -> None:
        _remove_old_blobs(settings)


def add_schedule(app: Celery, settings: Settings) -> None:
    """Let Beat send the tasks that these settings ask for.

    Raises:
        ConfigurationError: one cannot work with these settings.
    """
    if settings.blob_retention_seconds is None:
        return
    retained_directory(settings.blobs)
    every = settings.housekeeping_seconds
    options = {
        "queue": HOUSEKEEPING_QUEUE,
        "expires": every,  # while no worker takes them, they do not pile up
        "retry": True,  # this connects again where the connection was lost
        "retry_policy": {"max_retries": 2, "interval_start": 0.0, "interval_step": 0.5, "interval_max": 0.5},
    }
    app.conf.beat_schedule = {REMOVE_OLD_BLOBS: {"task": REMOVE_OLD_BLOBS, "schedule": every, "options": options}}


def _remove_old_blobs(settings: Settings) -> None:
    age_seconds = settings.blob_retention_seconds
    if age_seconds is None:
        _log.warning("no blobs are removed: MESH_BLOB_RETENTION_SECONDS is set for Beat and not for this worker")
        return
    meter, runs, removed = metrics.get_meter(__name__), metric_names.HOUSEKEEPING_RUNS, metric_names.BLOBS_REMOVED
    run_total = meter.create_counter(runs.name, runs.unit, runs.meaning)
    try:
        directory = retained_directory(settings.blobs)
        removal = remove_old_blobs(directory, age_seconds=age_seconds, most=_MOST_BLOBS, seconds=_RUN_SECONDS)
    except Exception:
        run_total.add(1, {names.HOUSEKEEPING_OUTCOME: "failed"})
        raise
    run_total.add(1, {names.HOUSEKEEPING_OUTCOME: "done"})
    meter.create_counter(removed.name, removed.unit, removed.meaning).add(removal.blobs)
    _log.info(
        f"removed {counted(removal.blobs, 'old blob')}",
        size_bytes=removal.size_bytes,
        rest="none" if removal.is_complete else "in the next run",
    )
