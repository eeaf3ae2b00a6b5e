"""The Celery application as the settings make it."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from services.router.engines.celery.app import QUEUES, RUN_CHUNK, broker_url, make_celery_app
from shared.settings import Settings


@pytest.mark.parametrize(
    ("ours", "celerys"),
    [
        ("redis://:secret@redis:6379/3", "redis://:secret@redis:6379/3"),
        ("rediss://redis:6379/0", "rediss://redis:6379/0"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix://user:secret@/run/redis.sock?db=2", "redis+socket://user:secret@/run/redis.sock?virtual_host=2"),
    ],
)
def test_a_unix_socket_has_another_scheme_there(ours: str, celerys: str) -> None:
    """All other addresses are the same."""
    assert broker_url(Settings(redis_url=SecretStr(ours), _env_file=None)) == celerys


def test_what_must_hold_of_every_application() -> None:
    """JSON only, late acknowledgement, no retries but ours, keys of the environment's own."""
    settings = Settings(topic_prefix="env.", max_job_age_seconds=1234.0, _env_file=None)
    conf = make_celery_app(settings).conf
    assert conf.accept_content == ["json"]
    assert (conf.task_serializer, conf.event_serializer) == ("json", "json")
    assert conf.task_acks_late
    assert not conf.task_reject_on_worker_lost
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_annotations[RUN_CHUNK] == {"time_limit": 1234.0, "max_retries": 0}
    assert conf.broker_transport_options["visibility_timeout"] == 1234.0
    assert conf.broker_transport_options["global_keyprefix"] == "env.celery:"
    assert conf.broker_transport_options["socket_timeout"] > 1
    assert [queue.name for queue in conf.task_queues] == list(QUEUES)
    assert not conf.worker_hijack_root_logger
