"""Watches that a process which nobody asks for anything leaves: in order, or by itself where that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.logs.setup import get_logger

_AGAIN_SECONDS = 1.0

_log = get_logger(__name__)


class IdleWatch:
    """A thread of its own, which goes on whatever fails in it.

    Args:
        seconds: how long a process may be idle.
        leave: asks that the process ends in order; it may take some time, or be refused since there is work.
        end: ends the process at once. Called when `leave` raises and nothing is being done.
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
        """The process is at work, and not idle."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._used_at = time.monotonic()

    def is_idle(self) -> bool:
        """Whether it has been idle for long enough."""
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
            except BaseException:  # noqa: BLE001 - told; without this thread the process would stay for ever
                _log.critical("an idle process cannot leave in order", exc_info=True)
                if self.is_idle():
                    self._end()
                    return
                time.sleep(_AGAIN_SECONDS)
