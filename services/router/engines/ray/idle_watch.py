"""Ends a process that has been idle: in order, or at once if that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.logs.setup import get_logger

_AGAIN_SECONDS = 1.0

_log = get_logger(__name__)


class IdleWatch:
    """A thread that goes on whatever fails in it.

    Args:
        seconds: how long a process may be idle.
        leave: asks the process to end in order; it may take some time, or be refused because there is work.
        end: ends the process at once; called when `leave` raises while the process is idle.
    """

    def __init__(self, seconds: float, *, leave: Callable[[], None], end: Callable[[], None]) -> None:
        self._seconds = seconds
        self._leave = leave
        self._end = end
        self._lock = threading.Lock()
        self._busy = 0
        self._used_at = time.monotonic()

    def start(self) -> None:
        """Watch from now on."""
        threading.Thread(target=self._watch, name="idle-watch", daemon=True).start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The process is not idle during the block."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._used_at = time.monotonic()

    def is_idle(self) -> bool:
        """Whether it has been idle for `seconds`."""
        return self._left() <= 0

    def _left(self) -> float:
        with self._lock:
            return self._seconds if self._busy else self._used_at + self._seconds - time.monotonic()

    def _watch(self) -> None:
        while True:
            try:
                left = self._left()
                if left > 0:
                    time.sleep(left)
                else:
                    self._leave()
                    time.sleep(self._seconds / 2)
            except BaseException:  # noqa: BLE001 - logged; without this thread the process would stay for ever
                _log.critical("an idle process cannot leave in order", exc_info=True)
                if self.is_idle():
                    self._end()
                    return
                time.sleep(_AGAIN_SECONDS)
