"""The results of one job in order: each progress record once, without gaps. Pure: no broker is asked here."""

from __future__ import annotations

from pydantic import ValidationError

from eldermesh.client.errors import ContractBrokenError
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from eldermesh.contract.records import PublicRecord
from eldermesh.contract.results import JobProgress

MOST_AHEAD = 64
"""Records that wait for one before them. More are none that came late: it is gone, and waiting would not help."""


class ProgressSequence:
    """Puts progress records in order of `sequence` and drops repeats, which carry the same value.

    Records come in order but for repeats after a crash of the mesh; one that is ahead waits for those before it.
    """

    def __init__(self, from_sequence: int = 1) -> None:
        self.next = from_sequence
        """The sequence that comes next."""
        self._ahead: dict[int, JobProgress] = {}

    def add(self, record: PublicRecord) -> list[JobProgress]:
        """Show a record of `jobs.progress` of this job; return what is now in turn.

        Raises:
            ContractBrokenError: the record cannot be read, or one before it is missing.
        """
        try:
            progress = JobProgress.model_validate(parse_ijson(record.value or b"", whole_doubles=True))
        except (UndecodableJsonError, ValidationError) as error:
            raise ContractBrokenError(f"{record!r} is no progress record: {error}") from error
        if progress.sequence >= self.next:
            self._ahead.setdefault(progress.sequence, progress)
        in_turn: list[JobProgress] = []
        while self.next in self._ahead:
            in_turn.append(self._ahead.pop(self.next))
            self.next += 1
        if len(self._ahead) > MOST_AHEAD:
            raise ContractBrokenError(
                f"job {progress.job_id} has no progress record {self.next}, but {MOST_AHEAD} later ones: "
                "retention has taken it, or it was never published"
            )
        return in_turn

    def complete(self, progress_records_total: int) -> bool:
        """Whether everything up to the end's `progress_records_total` has been handed out."""
        return self.next > progress_records_total
