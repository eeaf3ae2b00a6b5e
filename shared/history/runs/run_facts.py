"""Where a run appends its facts: the history partition of its subject, below the run's span."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from shared.backoff.patience import with_patience
from shared.facts.fact import Fact
from shared.history.clock import Clock
from shared.history.fact_appender import FactSink
from shared.history.facts import fact_headers


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The history of one subject.

    Attributes:
        sink: appends.
        clock: measures the time for retries.
        topic: the history's full name.
        subject: whose history: the key of each fact.
        traceparent, tracestate: the parent of the facts in the trace.
    """

    sink: FactSink
    clock: Clock
    topic: str
    partition: int
    subject: str
    traceparent: str | None
    tracestate: str | None

    async def append(self, fact: Fact, *, patience_seconds: float = 0.0) -> None:
        """Append a fact; try again for `patience_seconds` while Kafka does not acknowledge it.

        Raises:
            RetryableError: Kafka has not acknowledged it.
        """
        headers = fact_headers(fact.fact_type, self.subject, self.traceparent, self.tracestate)
        append = partial(
            self.sink.append, self.topic, self.partition, key=self.subject, value=fact.encode(), headers=headers
        )
        await with_patience(append, seconds=patience_seconds, clock=self.clock)
