"""What tests of the embedded stack ask about processes."""

from __future__ import annotations

import sys
from pathlib import Path

from eldermesh_cli.stack.processes.identity import ProcessIdentity
from tests.waiting import wait_until


def tree_command(pid_file: Path, *modes: str) -> tuple[str, ...]:
    """The command of a process tree, see `process_tree`."""
    return (sys.executable, "-m", "tests.integration.process_tree", str(pid_file), *modes)


async def pids_in(pid_file: Path) -> list[int]:
    """The pids that a tree wrote, once it has."""

    def read() -> list[int] | None:
        return [int(pid) for pid in pid_file.read_text("ascii").split()] if pid_file.exists() else None

    return await wait_until(read, description=f"the tree writes {pid_file.name}")


async def identities_in(pid_file: Path) -> list[ProcessIdentity]:
    """The processes of a tree, all of them alive."""
    found = [ProcessIdentity.of(pid) for pid in await pids_in(pid_file)]
    alive = [identity for identity in found if identity is not None]
    assert len(alive) == len(found) == 4
    return alive


async def wait_all_gone(identities: list[ProcessIdentity]) -> None:
    """Wait until none of them is alive."""
    await wait_until(
        lambda: not [identity.pid for identity in identities if identity.is_alive()],
        description=f"processes {[identity.pid for identity in identities]} are gone",
    )
