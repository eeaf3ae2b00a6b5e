"""A verb's last line says how many records of the topics it could not read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from eldermesh.counted import counted
from eldermesh_cli.terminal.output import write_error

if TYPE_CHECKING:
    from eldermesh.kafka.unreadable import PassedOver

_LOGGER = "eldermesh.kafka.unreadable"


@contextmanager
def telling_what_is_passed_over(*, as_json: bool) -> Iterator[None]:
    """On leaving, say which records were passed over meanwhile. With `as_json` standard error stays silent."""
    seen = _Seen()
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(seen)
    try:
        yield
    finally:
        logger.removeHandler(seen)
        if seen.stretches and not as_json:
            write_error(seen.line())


class _Seen(logging.Handler):
    """What the consumers of this process say that they passed over."""

    def __init__(self) -> None:
        super().__init__()
        self.stretches: dict[tuple[str, int, int], PassedOver] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a stretch; a reader that looks for the end of a topic reports only the last record of one."""
        stretch: PassedOver = record.args["passed_over"]  # type: ignore[call-overload, index, assignment]  # see there
        place = (stretch.topic, stretch.partition, stretch.end)
        known = self.stretches.get(place, stretch)
        self.stretches[place] = min(known, stretch, key=lambda each: each.first)

    def line(self) -> str:
        """All of it in a line."""
        first = next(iter(self.stretches.values()))
        number = sum(each.end - each.first for each in self.stretches.values())
        return (
            f"{counted(number, 'record')} could not be read, the first at {first.topic}/{first.partition}, "
            f"offset {first.first}: {first.reason}"
        )
