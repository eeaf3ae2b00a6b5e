"""Pings Celery's workers, and leaves no connection open."""

from __future__ import annotations

from typing import Any

from services.router.engines.celery.app import make_celery_app
from shared.settings import Settings


def ping_workers(
    settings: Settings, *, timeout_seconds: float, destination: list[str] | None = None, limit: int | None = None
) -> list[str]:
    """Return the names of the workers that answer, sorted; blocks for `timeout_seconds` unless `limit` answer sooner.

    Raises:
        Exception: Redis does not answer; kombu wraps what its transport raises in classes of several libraries.
    """
    with make_celery_app(settings) as app, app.connection_for_write() as connection:
        control: Any = app.control
        control.mailbox.producer_pool = None  # that pool would outlive the application; without it `connection` is used
        answers: list[dict[str, Any]] | None = control.ping(
            destination=destination, timeout=timeout_seconds, limit=limit, connection=connection
        )
    return sorted(name for answer in answers or [] for name in answer)
