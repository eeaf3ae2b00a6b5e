"""What people read: counts, and a broker that is not there."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError

from eldermesh.counted import counted
from eldermesh.kafka.errors import KafkaUnavailableError, no_broker


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 more jobs"), (1, "1 more job"), (2, "2 more jobs"), (1_000_000, "1000000 more jobs")]
)
def test_counts(count: int, said: str) -> None:
    """One is one."""
    assert counted(count, "more job") == said


def test_a_broker_that_is_not_there() -> None:
    """What aiokafka says of it is for nobody; all else is told."""
    refused = KafkaConnectionError("Unable to bootstrap from [('127.0.0.1', 9092, <AddressFamily.AF_INET: 2>)]")
    assert no_broker("127.0.0.1:9092", KafkaUnavailableError(refused)) == "no broker answers at 127.0.0.1:9092"
    not_ready = KafkaUnavailableError(NodeNotReadyError("1"))
    assert no_broker("h:1", not_ready) == "no broker answers at h:1: NodeNotReadyError('1')"
    assert no_broker("h:1", TimeoutError()) == "no broker answers at h:1: TimeoutError()"
