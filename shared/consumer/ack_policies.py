"""No default acknowledgement policy anywhere: every subscriber has one that loses nothing, or nothing starts."""

from __future__ import annotations

from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy

from shared.errors import ConfigurationError

ALLOWED_POLICIES = frozenset({AckPolicy.NACK_ON_ERROR})
"""Under these a record that was not handled is never committed. The library's default is not among them."""


def require_ack_policies(broker: KafkaBroker) -> None:
    """Look at every subscriber of the broker, those of included routers too.

    A policy of the broker does not reach subscribers that were declared on a router, so each one's own counts.

    Raises:
        ConfigurationError: a subscriber has the default or another policy that can lose records.
    """
    for subscriber in broker.subscribers:
        policy = subscriber.ack_policy
        if policy not in ALLOWED_POLICIES:
            allowed = ", ".join(sorted(each.value for each in ALLOWED_POLICIES))
            raise ConfigurationError(
                f"the subscriber of {subscriber.get_log_context(None).get('topic')} has the acknowledgement policy "
                f"{policy.value!r}, under which records can be lost; set one of: {allowed}"
            )
