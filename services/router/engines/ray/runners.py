"""Named, detached actors of a Ray cluster as runners; made if they do not exist."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from services.router.engines.chunks.task import ChunkOutcome
from services.router.engines.ray.actor import RayRunner
from services.router.engines.ray.pool import ClusterLostError, Runner, RunnerLostError
from shared.logs.setup import get_logger
from shared.settings import Settings

_ANSWER_SECONDS = 20.0

T = TypeVar("T")

_log = get_logger(__name__)


def namespace(settings: Settings) -> str:
    """The Ray namespace of the runners of this environment."""
    return f"eldermesh.{settings.topic_prefix}"


class RayRunners:
    """Runners of one mesh in the cluster that this process is connected to.

    A runner's name has its workload, its number and a hash of its settings: after a change of settings new runners are
    made, and the old ones end when they are idle.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._environment = {
            name: value for name, value in settings.environment().items() if not name.startswith("MESH_RAY_AUTH")
        }
        made_with = json.dumps(self._environment, sort_keys=True).encode()
        self._mark = hashlib.sha256(made_with).hexdigest()[:8]

    async def get(self, workload: str, number: int) -> Runner:
        """The runner of this number.

        Raises:
            RunnerLostError: it could not be made.
            ClusterLostError: the cluster does not answer.
        """
        demand = self._settings.ray_resources.of(workload)
        options: dict[str, Any] = {
            "name": f"{workload}-{number}-{self._mark}",
            "namespace": namespace(self._settings),
            "lifetime": "detached",
            "get_if_exists": True,
            # Only the owner of a job retries.
            "max_restarts": 0,
            "max_task_retries": 0,
            "num_cpus": demand.num_cpus,
            "resources": demand.resources or None,
        }
        if demand.memory is not None:
            options["memory"] = demand.memory
        make: Any = ray.remote(RayRunner)
        stays = number < self._settings.ray_min_runners
        actor = await in_time(lambda: make.options(**options).remote(self._environment, stays=stays))
        return ActorRunner(actor, self._settings.max_job_age_seconds)


class ActorRunner:
    """`Runner` over the handle of an actor, which is killed when a call takes longer than `call_seconds`."""

    def __init__(self, actor: Any, call_seconds: float) -> None:
        self._actor = actor
        self._call_seconds = call_seconds

    async def ready(self) -> None:
        """Return once it takes calls."""
        await _answer(self._actor.ready.remote())

    async def run(self, message: dict[str, Any]) -> str:
        """Run a chunk; return its outcome."""
        try:
            async with asyncio.timeout(self._call_seconds):
                return str(await _answer(self._actor.run.remote(message)))
        except TimeoutError:
            _log.error("a runner is stuck and killed", chunk=message.get("chunk"))
            await in_time(lambda: ray.kill(self._actor))
            return ChunkOutcome.KILLED.value


async def _answer(reference: Awaitable[Any]) -> Any:
    try:
        return await reference
    except RayTaskError as error:  # the runner itself failed, not its items
        _log.exception("a runner raised", exc_info=error)
        return ChunkOutcome.KILLED.value
    except RayActorError as error:
        raise RunnerLostError(first_line(error)) from error
    except RayError as error:
        raise ClusterLostError(first_line(error)) from error


async def in_time(work: Callable[[], T]) -> T:
    """Run a blocking call to the cluster in a thread, within `_ANSWER_SECONDS`.

    Raises:
        ClusterLostError: it does not answer.
    """
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await asyncio.to_thread(work)
    except TimeoutError as error:
        raise ClusterLostError(f"Ray did not answer in {_ANSWER_SECONDS:g} s") from error
    except (RayError, ConnectionError, RuntimeError) as error:
        raise ClusterLostError(first_line(error)) from error


def first_line(error: Exception) -> str:
    """The class of an error and the first line of its message; Ray's messages are pages long."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:300]}"
