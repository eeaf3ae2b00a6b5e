"""Run a verb's coroutine, print its answer, and turn the errors of what it asked into those of the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from eldermesh_cli.program.errors import CliError, ExitStatus, refused, unavailable, usage_error
from eldermesh_cli.program.target_mesh import Mesh, find_mesh
from eldermesh_cli.terminal.output import Output

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
Answer = TypeVar("Answer", bound="BaseModel")


def answer_from_mesh(
    ask: Callable[[Mesh], Coroutine[Any, Any, Answer]], show: Callable[[Output, Answer], None], *, as_json: bool
) -> Answer:
    """Find the mesh, ask it, and print the answer: as JSON, or as `show` does for people.

    Raises:
        CliError: a setting is wrong, or a part of the mesh does not answer or refuses.
    """
    mesh = find_mesh()
    output = Output(as_json)
    answer = run_on_mesh(mesh, lambda: ask(mesh))
    if as_json:
        output.answer(answer)
    else:
        show(output, answer)
    return answer


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
    from eldermesh.kafka.errors import KafkaRefusedError, KafkaUnavailableError, no_broker
    from shared.errors import MeshError, RetryableError
    from shared.redis_client import redis_trouble

    match error:
        case ClientError():
            return _of_client(mesh, error)
        case RedisError():
            return mesh.unavailable(redis_trouble(error))
        case KafkaRefusedError():
            return refused(str(error))
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
        case errors.AccessRefusedError():
            return refused(str(error))
        case errors.TemporaryFileError():
            return unavailable(str(error), "make room, or let TMPDIR name a directory that has some")
        case errors.ContractBrokenError():
            return CliError(ExitStatus.NOT_COMPLETED, "breach", str(error), "`mesh audit` checks everything")
    return mesh.unavailable(str(error))
