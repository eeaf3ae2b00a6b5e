"""Work that leaves a trace on disk each time it is done."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypedDict


class RecordedItem(TypedDict):
    """Where to record that the item was run, under which name, and how long it takes."""

    path: str
    name: str
    seconds: float


def record(item: RecordedItem) -> str:
    """Append the item's name to the file, as one line that no other process can tear."""
    fd = os.open(item["path"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(fd, f"{item['name']}\n".encode())
    finally:
        os.close(fd)
    time.sleep(item["seconds"])
    return item["name"]


def recorded(path: Path) -> list[str]:
    """The names of the items that were run, in order."""
    return path.read_text("utf-8").splitlines() if path.exists() else []
