"""The Celery application of the router and of its workers."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from celery import Celery
from kombu import Exchange, Queue

from services.router.engines.celery.broker import RedisBroker
from shared.history.foreign_state import celery_key_prefix
from shared.redis_client import redis_tls
from shared.settings import Settings

RUN_CHUNK = "eldermesh.run_chunk"
"""Name of the task that runs a chunk; its keyword arguments are a `ChunkTask`."""

HOUSEKEEPING_QUEUE = "housekeeping"

QUEUES = ("batch_tasks", "claude_tasks", "sage_tasks", "notifications", HOUSEKEEPING_QUEUE)
"""Each workload says in which of the first four its chunks wait; `sage_tasks` and `notifications` are for plug-ins."""

DEFAULT_PRIORITY = 3

_PRIORITY_STEPS = [0, 2, 3, 5, 6, 9]
_SOCKET_SECONDS = 10.0
"""Longer than a worker's BRPOP (1 s), so that only a Redis that hangs runs into it."""


def broker_url(settings: Settings) -> str:
    """The Redis address for Celery, which has its own scheme for unix sockets."""
    url = settings.redis_url.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    login, at, _ = parts.netloc.rpartition("@")
    return f"redis+socket://{login}{at}{parts.path}?virtual_host={database}"


def make_celery_app(settings: Settings) -> Celery:
    """A new application. It connects at first use, and is not made the current one of the process."""
    app = Celery("eldermesh", broker=broker_url(settings), amqp=RedisBroker, set_as_current=False)
    app.conf.update(_common() | _delivery(settings) | {"broker_use_ssl": redis_tls(settings) or None})
    return app


def _common() -> dict[str, Any]:
    return {
        "accept_content": ["json"],  # JSON is also the default of all serializers
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        "task_default_queue": QUEUES[0],
        "task_default_exchange": QUEUES[0],
        "task_default_routing_key": QUEUES[0],
        "task_default_priority": DEFAULT_PRIORITY,
        "task_create_missing_queues": False,
        "task_ignore_result": True,  # results are facts; nobody reads Celery's
        "worker_consumer": "services.router.engines.celery.broker:PatientConsumer",
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "timezone": "UTC",
    }


def _delivery(settings: Settings) -> dict[str, Any]:
    """At least once; only the job's owner retries.

    A task is acknowledged after it ran, whatever its outcome. If its worker died, Redis delivers it again after the
    visibility timeout. By then the owner has planned its items again, so the task finds its chunk claimed or replaced
    and ends. The timeout begins when a worker takes the task, and is as long as a job may live.
    """
    return {
        "broker_transport_options": {
            "global_keyprefix": celery_key_prefix(settings),
            "visibility_timeout": settings.max_job_age_seconds,
            # The priority decides first, within a queue and across queues; equal ones take turns.
            "priority_steps": _PRIORITY_STEPS,
            "queue_order_strategy": "round_robin",
            "socket_timeout": _SOCKET_SECONDS,
            "socket_connect_timeout": _SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": 10,
            # For publishing: fail soon, and let the caller decide.
            "max_retries": 1,
            "interval_start": 0.0,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        # A run outlives a restart of Redis: its heartbeats create the claim again.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_prefetch_multiplier": 1,
        # Only for a runner that is stuck itself: no chunk outlives its job.
        "task_annotations": {RUN_CHUNK: {"time_limit": settings.max_job_age_seconds, "max_retries": 0}},
    }
