"""No subscriber with the framework's default acknowledgement policy gets as far as the first record."""

from __future__ import annotations

from typing import Any

import pytest
from faststream.kafka import KafkaBroker, KafkaRouter
from faststream.middlewares import AckPolicy

from shared.consumer.inbox_broker import require_ack_policies
from shared.errors import ConfigurationError


async def _handle(message: Any) -> None:
    """Never called."""


def test_an_explicit_policy_that_loses_nothing_is_allowed() -> None:
    """The one that is used, on the broker's own subscriber and on a router's."""
    router = KafkaRouter()
    router.subscriber("two", group_id="g", ack_policy=AckPolicy.NACK_ON_ERROR)(_handle)
    broker = KafkaBroker(routers=[router])
    broker.subscriber("one", group_id="g", ack_policy=AckPolicy.NACK_ON_ERROR)(_handle)
    require_ack_policies(broker)


@pytest.mark.parametrize(
    "policy", [None, *sorted(set(AckPolicy) - {AckPolicy.NACK_ON_ERROR, AckPolicy.REJECT_ON_ERROR})]
)
def test_the_default_and_policies_that_can_lose_are_refused(policy: AckPolicy | None) -> None:
    """The message names the topic and what to set."""
    broker = KafkaBroker()
    options: dict[str, Any] = {} if policy is None else {"ack_policy": policy}
    broker.subscriber("one", group_id="g", **options)(_handle)
    with pytest.raises(ConfigurationError, match=r"subscriber of one .* nack_on_error"):
        require_ack_policies(broker)


def test_a_policy_of_the_broker_does_not_reach_a_router() -> None:
    """Its subscribers would stay at the default: refused."""
    router = KafkaRouter()
    router.subscriber("two", group_id="g")(_handle)
    broker = KafkaBroker(ack_policy=AckPolicy.NACK_ON_ERROR)
    broker.include_router(router)
    with pytest.raises(ConfigurationError, match="subscriber of two"):
        require_ack_policies(broker)
