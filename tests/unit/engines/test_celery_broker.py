"""Which errors Celery takes for a broker that is away."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from services.router.engines.celery.app import make_celery_app
from services.router.engines.celery.broker import BROKER_ERRORS
from shared.settings import Settings

ANSWERS = (
    "READONLY You can't write against a read only replica.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "LOADING Redis is loading the dataset in memory",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'set' command",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "NOREPLICAS Not enough good replicas to write.",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "EXECABORT Transaction discarded because of previous errors.",
    "UNKILLABLE Sorry the script already executed write commands against the dataset.",
    "ERR max number of clients reached",
)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0", "unix:///nowhere/redis.sock?db=2"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_refusal_is_an_error_of_the_connection(answer: str, url: str) -> None:
    """So a worker connects again in place of ending, wherever its Redis is."""
    parse: Any = BaseParser.parse_error
    error = parse(answer)
    assert isinstance(error, exceptions.RedisError)
    with make_celery_app(Settings(redis_url=url, _env_file=None)) as app:  # type: ignore[arg-type]  # pydantic reads it
        assert isinstance(error, app.connection_for_read().connection_errors)
        assert isinstance(error, app.connection_for_write().connection_errors)
    assert isinstance(error, BROKER_ERRORS)
