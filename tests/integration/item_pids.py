"""Items that tell they run by a file: they wait in it for the test, or write their pids (`item_functions`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from eldermesh_cli.stack.processes.identity import ProcessIdentity
from tests.waiting import wait_until


async def written_pids(path: Path) -> list[ProcessIdentity]:
    """The item host and its child, once the item has begun; both are alive."""

    def read() -> list[ProcessIdentity | None] | None:
        return [ProcessIdentity.of(int(pid)) for pid in path.read_text("ascii").split()] if path.exists() else None

    found = [identity for identity in await wait_until(read, description="the item runs") if identity is not None]
    assert len(found) == 2
    return found


async def begun(path: Path) -> None:
    """The item (`item_functions.until_let_go`) runs; it runs on until it is let go."""
    await wait_until(path.exists, description="the item runs")


async def let_go(path: Path) -> None:
    """Once the item runs, let it end, and whatever run of it comes after."""
    await begun(path)
    await asyncio.to_thread(Path(f"{path}.go").touch)


async def all_gone(identities: Sequence[ProcessIdentity]) -> None:
    """Wait until none of them is alive."""
    assert identities
    await wait_until(
        lambda: not any(identity.is_alive() for identity in identities),
        description=f"processes {[identity.pid for identity in identities]} are gone",
    )
