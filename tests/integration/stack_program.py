"""A small `mesh up` for tests: `python -m tests.integration.stack_program DATA_DIR [worker]`.

Runs the embedded broker, Redis, a tree of stubborn processes and, if asked, a Celery worker with two children.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from eldermesh.launch import python_command
from eldermesh_cli.stack.data_dir import DataDirLock
from eldermesh_cli.stack.errors import NotReadyError, StackError
from eldermesh_cli.stack.processes.log_file import log_tail
from eldermesh_cli.stack.runtime_file import Addresses
from eldermesh_cli.stack.servers.broker import broker_service
from eldermesh_cli.stack.servers.free_ports import LOOPBACK, free_port
from eldermesh_cli.stack.servers.redis import redis_service, redis_url
from eldermesh_cli.stack.service import ServiceSpec
from eldermesh_cli.stack.stack_run import run_stack
from tests.integration.owned import tree_command


async def _run(data_dir: Path, *, with_worker: bool) -> None:
    broker_port, redis_port = free_port(), free_port()
    tree_ready = data_dir / "tree.ready"

    async def worker_is_ready() -> None:
        if " ready." not in log_tail(data_dir / "logs" / "worker.log"):
            raise NotReadyError("the worker has not said so")

    async def tree_is_ready() -> None:
        if not tree_ready.exists():
            raise NotReadyError("the tree has not written its pids")

    async def say_what_was_lost(name: str) -> list[str]:
        return [f"everything that {name} held"]

    worker = ServiceSpec(
        name="worker",
        command=python_command("celery", "-A", "tests.integration.stack_tasks", "worker", "-c", "2", "-l", "INFO"),
        env={"MESH_REDIS_URL": redis_url(redis_port)},
        depends_on=("redis",),
        ready=worker_is_ready,
    )
    tree = ServiceSpec(
        name="tree", command=tree_command(tree_ready, "stubborn"), ready=tree_is_ready, stop_grace_seconds=0.5
    )
    with await DataDirLock.acquire(data_dir) as lock:
        tree_ready.unlink(missing_ok=True)
        report = await run_stack(
            lock,
            [
                broker_service(data_dir, broker_port),
                redis_service(data_dir, redis_port, append_only=True),
                *([worker] if with_worker else []),
                tree,
            ],
            Addresses(kafka_bootstrap=f"{LOOPBACK}:{broker_port}", redis_url=redis_url(redis_port)),
            on_ready=lambda runtime, _: print("ready", runtime.supervisor.pid, flush=True),  # noqa: T201 - the test reads it
            describe_loss=say_what_was_lost,
        )
    print(report, flush=True)  # noqa: T201 - the test reads it


def main() -> int:
    """Run until stopped; exit status 3 when the stack cannot run."""
    try:
        asyncio.run(_run(Path(sys.argv[1]), with_worker="worker" in sys.argv[2:]))
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
