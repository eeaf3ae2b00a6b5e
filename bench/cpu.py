"""Processor time that services and all that they started have used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from eldermesh_cli.stack.service import Service


@dataclass(slots=True)
class Used:
    """Seconds of processor time, user and system, once it has been measured."""

    seconds: float = 0.0


class CpuMeter:
    """The processor time of services; of a child that has ended, if its parent has waited for it."""

    def __init__(self, *services: Service) -> None:
        self._tops = [psutil.Process(service.leash_pid) for service in services]

    @contextmanager
    def measured(self) -> Iterator[Used]:
        """What is used within the block."""
        used, before = Used(), self.total()
        yield used
        used.seconds = self.total() - before

    def total(self) -> float:
        """Seconds since the processes began."""
        seconds = 0.0
        for top in self._tops:
            for process in (top, *top.children(recursive=True)):
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:  # since it was listed; its parent has its times now, or soon
                    continue
                seconds += times.user + times.system + times.children_user + times.children_system
        return seconds
