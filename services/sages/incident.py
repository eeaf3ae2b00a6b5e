"""The sage `incident`: how risky a job is, by rules and by the failure rate of its workload."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from pydantic import JsonValue

from services.sages.memory.learning_sage import LearningSage
from services.sages.memory.table import Memory
from services.sages.past_jobs.failure_table import (
    SCHEMA_SQL,
    SCHEMA_VERSION,
    FailureRate,
    apply_end,
    failure_rate,
    prune,
)
from services.sages.sage import Question
from shared.errors import RetryableError
from shared.incident import Reason, Verdict, judge, load, with_reason
from shared.kafka.topics import JOBS_DONE
from shared.logs.setup import get_logger
from shared.settings import Settings

BAD_RATE: Final = 0.5
"""A workload has a bad history if, with 97.5 % confidence, more than this share of its jobs fails."""

_BAD_HISTORY: Final = Reason("history.failing-workload", "medium", "Most of the last jobs of this workload failed.")
_ADVICE: Final = "See why the last jobs of this workload failed before more of them run."

_log = get_logger(__name__)


class IncidentSage(LearningSage):
    """`Sage` that runs the rules of `shared.incident` and learns from `jobs.done`.

    It is never warming: while its memory is, it answers by the rules alone, without `failure_rate`.
    """

    name = "incident"

    @property
    def is_warming(self) -> bool:
        """Never."""
        return False

    async def start(self, settings: Settings) -> None:
        """Open the memory of ended jobs, begin to read, and import the detectors."""
        await self.remember(
            Memory(settings, self.name, [JOBS_DONE], SCHEMA_SQL, SCHEMA_VERSION, apply_end, prune=prune)
        )
        await asyncio.to_thread(load)

    @property
    def knows_past(self) -> bool:
        """Whether the memory has caught up."""
        return self.memory is not None and not self.memory.is_warming

    async def advise(self, question: Question) -> dict[str, JsonValue]:
        """Risk, reasons, mitigations, the rules' version, and how often jobs of this workload failed."""
        verdict, past = await asyncio.gather(
            asyncio.to_thread(judge, question.workload, question.items, question.options), self._past(question)
        )
        advice = _with_history(verdict, past).as_advice()
        return advice if past is None else {**advice, "failure_rate": past.as_json()}

    async def _past(self, question: Question) -> FailureRate | None:
        """The failure rate of the tenant's workload; None while it is not known."""
        if self.memory is None or not self.knows_past:
            return None
        try:
            return await self.memory.query(
                lambda connection: failure_rate(connection, question.tenant, question.workload)
            )
        except (RetryableError, sqlite3.Error) as error:
            _log.warning("incident does not know how the workload fared", error_type=type(error).__name__)
            return None


def _with_history(verdict: Verdict, past: FailureRate | None) -> Verdict:
    if past is None or past.interval[0] <= BAD_RATE:
        return verdict
    return with_reason(verdict, _BAD_HISTORY, _ADVICE)
