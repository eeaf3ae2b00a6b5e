"""What inboxes need of FastStream beyond what it offers: the only place that reaches into it.

`docs/explanation/faststream.md` says what and why; `tests/unit/consumer/test_inbox_broker.py` fails when FastStream
changes below.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer
from faststream.kafka import KafkaBroker
from faststream.middlewares import AckPolicy

from shared.consumer.backlog_pace import BacklogPace
from shared.consumer.client import InboxClient
from shared.consumer.handler import Subscription
from shared.consumer.ranked_client import RankedInboxClient
from shared.errors import ConfigurationError
from shared.kafka.clients import IDLE_FETCH_WAIT_MS
from shared.settings import Settings


class InboxBroker(KafkaBroker):
    """FastStream's broker for a service: its consumers are `InboxClient`s, and its subscribers start side by side.

    Args:
        settings: where the broker is, and how long a stop waits for the batches at hand.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            settings.kafka_bootstrap,
            client_id="eldermesh",
            consumer_only=True,
            allow_auto_create_topics=False,
            request_timeout_ms=40_000,
            graceful_timeout=settings.drain_seconds,
            apply_types=False,
            # Its own log repeats each of our rewinds as a critical error; ours say what happened.
            logger=None,
        )
        # Beside what FastStream makes of its own settings: its classes for security know no client certificates, and
        # its subscribers no option of our own.
        self._own_options = {
            **settings.kafka.options(),
            "idle_wait_ms": IDLE_FETCH_WAIT_MS[settings.broker_profile],
        }
        self._prefix = settings.topic_prefix
        self.ranked: dict[str, Subscription] = {}
        """By group, with its prefix: those that are handled by rank."""
        self._was_started = False

    async def start(self) -> None:
        """Join the groups of all subscribers at the same time, which FastStream does one after the other.

        Does nothing the second time: the service starts them beside its other parts, and then FastStream does. By then
        an inbox may have stopped itself again, and must not come back without a watch.

        Raises:
            KafkaError: a subscriber's failure to start, once all have ended their attempts.
        """
        if self._was_started:
            return
        await self.connect()
        # Joining a group takes seconds on the embedded broker. All end before a failure is raised.
        starts = [asyncio.ensure_future(subscriber.start()) for subscriber in self.subscribers]
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        self.running = self._was_started = True

    async def _connect(self) -> Callable[..., AIOKafkaConsumer]:
        builder = await super()._connect()
        if not isinstance(builder, partial) or builder.func is not AIOKafkaConsumer:
            raise ConfigurationError("this version of FastStream makes its consumers otherwise: install 0.7")
        own: partial[Any] = partial(self._client, *builder.args, **(builder.keywords | self._own_options))
        self.config.broker_config.builder = own
        return own

    def _client(self, *args: Any, group_id: str, **options: Any) -> InboxClient:
        subscription = self.ranked.get(group_id)
        if subscription is None or subscription.ranking is None:
            return InboxClient(*args, group_id=group_id, **options)
        return RankedInboxClient(
            *args,
            group_id=group_id,
            ranking=subscription.ranking,
            passes_over=subscription.passes_over,
            pace=BacklogPace() if subscription.is_paced else None,
            prefix=self._prefix,
            **options,
        )


async def parse_any_headers(batch: tuple[Any, ...], parse: Callable[[Any], Awaitable[Any]]) -> Any:
    """Parse the ends of a batch of aiokafka records without their headers, and give the message the whole records back.

    FastStream decodes every header as UTF-8 and drops the *whole batch* if one is not; it also obeys headers such as
    `reply_to`. Headers are read from the raw records, by whoever knows them; so are values, and the message's id is
    made of the first and the last record.
    """
    message = await parse(tuple(dataclasses.replace(record, headers=()) for record in (batch[0], batch[-1])))
    message.raw_message = batch
    return message


async def keep_message(message: Any) -> Any:
    """Decode nothing: the handler gets the message itself, and reads each of its raw records on its own."""
    return message


ALLOWED_POLICIES = frozenset({AckPolicy.NACK_ON_ERROR})
"""Under these a record that was not handled is never committed. The library's default is not among them."""


def require_ack_policies(broker: KafkaBroker) -> None:
    """Check every subscriber of the broker, those of included routers too.

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
