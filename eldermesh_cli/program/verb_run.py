"""Run a verb's coroutine, and say what the errors of what it spoke to mean for the one who typed it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from eldermesh_cli.program.errors import CliError, ExitStatus, usage_error
from eldermesh_cli.program.target_mesh import Mesh

T = TypeVar("T")


def run_on_mesh(mesh: Mesh, verb: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end.

    Raises:
        CliError: a part of the mesh does not answer, or refuses.
    """
    try:
        return asyncio.run(verb())
    except CliError:
        raise
    except Exception as error:
        meant = _meaning(mesh, error)
        if meant is None:
            raise
        raise meant from error


def _meaning(mesh: Mesh, error: Exception) -> CliError | None:
    from redis.exceptions import RedisError

    from eldermesh.client.errors import ClientError
    from eldermesh.kafka.errors import KafkaUnavailableError, no_broker
    from shared.errors import MeshError, RetryableError

    match error:
        case ClientError():
            return _of_client(mesh, error)
        case RedisError():
            return mesh.unavailable(f"Redis does not answer: {error}")
        case KafkaUnavailableError():
            return mesh.unavailable(no_broker(mesh.settings.kafka_bootstrap, error))
        case RetryableError():
            return mesh.unavailable(str(error))
        case MeshError():
            return CliError(ExitStatus.UNAVAILABLE, "configuration", str(error), "`mesh doctor` says what is wrong")
        case ConnectionError():
            return mesh.unavailable(f"a connection was refused or broke: {error}")
    return None


def _of_client(mesh: Mesh, error: Exception) -> CliError:
    from eldermesh.client import errors

    match error:
        case errors.JobDeadError():
            status = ExitStatus.NOT_FOUND if error.error_type == "conflict" else ExitStatus.NOT_COMPLETED
            return CliError(status, error.error_type, str(error), "`mesh dlq ls` shows what was refused")
        case errors.RecordTooLargeError():
            return CliError(ExitStatus.USAGE, "too_large", str(error), "nothing was sent")
        case errors.InvalidJobError():
            return usage_error(str(error), "nothing was sent; `mesh schema job-submit` prints what a job may say")
        case errors.WaitTimeoutError():
            return CliError(ExitStatus.UNKNOWN, "timeout", str(error), "the job goes on; ask again")
        case errors.ContractBrokenError():
            return CliError(ExitStatus.NOT_COMPLETED, "breach", str(error), "`mesh audit` checks everything")
    return mesh.unavailable(str(error))
