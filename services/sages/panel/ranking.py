"""The order in which the panel advises on jobs that wait: a glance at each acceptance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from shared.consumer.record import ConsumedRecord
from shared.history.owner_parts import Rank
from shared.priorities import PRIORITIES


@dataclass(frozen=True, slots=True)
class AcceptanceRanking:
    """`Ranking` of the acceptances in `jobs.history`, as their jobs are ranked wherever else they wait.

    Jobs that want no advice come first: nothing is done for them. One that cannot be read comes last.

    Args:
        weight_of: the weight of a tenant.
    """

    weight_of: Callable[[str], float]

    def __call__(self, record: ConsumedRecord, order: int) -> Rank:
        """By priority, fair among tenants, in the order of the history."""
        try:
            fact: Any = orjson.loads(record.value or b"")
            terms = fact["terms"]
            tenant, priority = str(terms["tenant"]), PRIORITIES[terms["priority"]]
            wants_advice = terms["advise_within_ms"] > 0
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return Rank(PRIORITIES["batch"], order)
        return Rank(priority if wants_advice else PRIORITIES["interactive"], order, tenant, self.weight_of(tenant))
