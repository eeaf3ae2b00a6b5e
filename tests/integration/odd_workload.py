"""A plug-in of another distribution whose `validate` does what a submit's options ask for: also, never end."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

from pydantic import JsonValue

from shared.errors import DeadLetterError
from shared.settings import Settings
from shared.workloads import ItemCall, ItemOutcome, ItemSucceeded, Queue, RunContext

METADATA = "Metadata-Version: 2.1\nName: odd-workload\nVersion: 1\n"
ENTRY_POINTS = "[eldermesh.workloads]\nodd = tests.integration.odd_workload:OddWorkload\n"


def install(site: Path) -> None:
    """What an installer writes of a distribution, so that its entry point is found where `site` is on the path."""
    info = site / "odd_workload-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA, "utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, "utf-8")


class Panic(BaseException):
    """What a panic in Rust becomes."""


class OddRun:
    """Its items are their own results."""

    async def item(self, call: ItemCall) -> ItemOutcome:
        """Nothing to do."""
        return ItemSucceeded(b"%d" % call.index)

    def kill(self) -> None:
        """Nothing runs."""


class OddWorkload:
    """`{"do": "spin"}` and the like."""

    name = "odd"
    queue: Queue = "batch_tasks"
    flush_each_item = False

    def validate(self, options: Mapping[str, JsonValue], items: Sequence[JsonValue] | None, settings: Settings) -> None:
        """Do as the options say."""
        doing = str(options.get("do"))
        if doing.startswith("wait for "):
            while not Path(doing.removeprefix("wait for ")).exists():
                time.sleep(0.01)
        elif doing == "refuse":
            raise DeadLetterError("invalid", f"{type(items).__name__} of {len(items or ())}, {settings.topic_prefix}")
        elif doing != "take":
            _odd(doing)

    @asynccontextmanager
    async def open(self, context: RunContext) -> AsyncIterator[OddRun]:  # noqa: ARG002 - the interface is a workload's
        """A run of one chunk."""
        yield OddRun()

    async def close(self) -> None:
        """Nothing is kept."""


def _odd(doing: str) -> None:
    actions: dict[str, Any] = {
        "spin": _spin,
        "spin in C": lambda: 7 ** (7**12) % 3,
        "sleep": lambda: time.sleep(3600),
        "stop": lambda: os.kill(os.getpid(), 19),
        "spin elsewhere": _spin_elsewhere,
        "take memory": lambda: bytes(2 * 1024**3),
        "exit": lambda: os._exit(3),
        "crash": lambda: ctypes.string_at(0),
        "sys.exit": lambda: sys.exit(4),
        "interrupt": _interrupt,
        "panic": _panic,
        "print": lambda: print('{"refused": ["invalid", "printed"]}', flush=True),  # noqa: T201 - as plug-ins do
    }
    actions[doing]()


def _spin() -> NoReturn:
    while True:
        pass


def _spin_elsewhere() -> None:
    threading.Thread(target=_spin, daemon=True).start()
    time.sleep(3600)


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _panic() -> NoReturn:
    raise Panic
