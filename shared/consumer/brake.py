"""The brake: tells a failure of our own code that concerns one record from one that concerns them all."""

from __future__ import annotations

import hashlib
from typing import Final

from shared.consumer.record import ConsumedRecord
from shared.errors import MeshError, StopServiceError
from shared.logs.exceptions import place_of

BRAKE_RECORDS: Final = 50
"""When the same code has failed on so many different records in a row, the code is broken, not the records."""


class BrakeError(StopServiceError):
    """Our own code fails whatever the record is: going on would lose or garble what follows. A person has to look."""


class OwnFailureError(MeshError):
    """Our own code failed on this record, and would again: give up the record, not the consumer.

    Args:
        record: the one that it failed on.
        cause: what was raised.
        job_id: the job that the record speaks of, if that was read before.
    """

    def __init__(self, record: ConsumedRecord, cause: BaseException, *, job_id: str | None = None) -> None:
        self.place = place_of(cause)
        super().__init__(f"{record!r}: {type(cause).__name__} at {self.place}")
        self.record = record
        self.cause = cause
        self.job_id = job_id


class Brake:
    """Counts the records that our own code failed on since the last one that it handled.

    They are counted by exception and place, each content once: a sender that repeats one bad record proves nothing.

    Args:
        records: at how many it is pulled.
    """

    def __init__(self, records: int = BRAKE_RECORDS) -> None:
        self._records = records
        self._failed: dict[tuple[str, str], set[bytes]] = {}

    def handled(self) -> None:
        """A record was handled well: the code works."""
        self._failed.clear()

    def failed(self, failure: OwnFailureError) -> None:
        """The code failed on a record.

        Raises:
            BrakeError: it failed alike on many before, and has handled none since.
        """
        record = failure.record
        alike = self._failed.setdefault((type(failure.cause).__name__, failure.place), set())
        alike.add(hashlib.sha256(repr((record.key, record.value)).encode()).digest())
        if len(alike) >= self._records:
            raise BrakeError(f"{len(alike)} records in a row fail alike, the last one {failure}") from failure.cause
