"""Redis as Celery's broker: a Redis that refuses commands is handled like one that does not answer.

For kombu, an answer such as READONLY, OOM, MISCONF or NOPERM is an error of the caller, and a Celery worker that gets
one ends. But these pass: a failover, a full disk, a password that is being changed. So here every error of Redis counts
as a connection error, and connecting to a Redis that refuses writes fails; kombu and Celery then connect again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, ClassVar, Self

from celery.app.amqp import AMQP
from celery.utils.dispatch import Signal
from celery.worker import consumer, state
from kombu import Connection
from kombu.asynchronous import get_event_loop
from kombu.exceptions import KombuError
from kombu.transport import redis, virtual
from kombu.utils.json import dumps
from redis.exceptions import RedisError

_PROBE_KEY = "probe"
_PROBE_MS = 1000
_MAX_OWED = 1000

_GATHER_SECONDS = 0.05
"""How long an acknowledgement waits for a message to be taken, with which it goes in one round trip."""

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_SECONDS = 10.0
"""After a connection that lasted longer, pauses start from the shortest again."""


_log = logging.getLogger(__name__)


class _QoS(redis.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message as delivered; it has left its queue already. Acknowledgements that wait go with it."""
        delivery = message.delivery_info
        payload, exchange, routing_key = message._raw, delivery["exchange"], delivery["routing_key"]  # noqa: SLF001 - as kombu's own does
        acknowledged = tuple(_Transport.acknowledged)
        try:
            with self.pipe_or_acquire() as pipe:
                for tag in acknowledged:
                    self._remove_from_indices(tag, pipe)  # type: ignore[attr-defined]
                pipe.zadd(self.unacked_index_key, {delivery_tag: time.time()})
                pipe.hset(self.unacked_key, delivery_tag, dumps([payload, exchange, routing_key]))
                pipe.execute()
        except (RedisError, OSError):
            _Transport.untaken.append((payload, exchange, routing_key))
            raise
        for _ in acknowledged:
            _Transport.acknowledged.popleft()
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message soon; the worker may take another one at once.

        After an acknowledgement that fails, kombu would take no more messages.
        """
        _Transport.acknowledged.append(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        hub: Any = get_event_loop()
        if hub is None or self.channel.closed:
            self.try_to_acknowledge()
        elif (now := time.monotonic()) >= _Transport.acknowledging_at:
            _Transport.acknowledging_at = now + _GATHER_SECONDS
            hub.call_later(_GATHER_SECONDS, self.try_to_acknowledge)

    def try_to_acknowledge(self) -> None:
        """Send all acknowledgements that wait; what Redis does not take waits on."""
        try:
            self.acknowledge_all()
        except (RedisError, OSError) as error:
            _log.warning("an acknowledgement waits until Redis takes it: %r", error)

    def acknowledge_all(self) -> None:
        """Send all acknowledgements that wait.

        Raises:
            RedisError, OSError: Redis does not take one.
        """
        while _Transport.acknowledged:
            pipe: Any = self._remove_from_indices(_Transport.acknowledged[0])  # type: ignore[attr-defined]
            pipe.execute()
            _Transport.acknowledged.popleft()


class _Channel(redis.Channel):
    """A channel that keeps the address of Redis when its connection is closed, and one client for each of its pools.

    kombu asks the closed connection, which raises an AttributeError and ends the worker. But a channel needs Redis
    later: to acknowledge tasks that end after a lost connection, and to be closed when the first attempt failed
    half-way.

    kombu makes a client for each command, which takes longer than the command does.
    """

    QoS = _QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._known_params: dict[bool, dict[str, Any]] = {}
        self._known_client: Any = None
        super().__init__(*args, **kwargs)
        self._connparams()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - as kombu calls it
        if asynchronous not in self._known_params:
            self._known_params[asynchronous] = super()._connparams(asynchronous)  # type: ignore[misc]
        return dict(self._known_params[asynchronous])

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - as kombu calls it
        if asynchronous:  # kombu keeps that one itself
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._known_client is None or self._known_client.connection_pool is not self.pool:
            self._known_client = super()._create_client()  # type: ignore[misc]
        return self._known_client

    def close(self) -> None:
        """Close it, once the acknowledgements that wait are sent: no message may come with which they would go."""
        if self._qos is not None:
            self._qos.try_to_acknowledge()  # type: ignore[attr-defined]  # it is a `_QoS`
        super().close()


class _Transport(redis.Transport):
    Channel = _Channel
    connection_errors = (*redis.Transport.connection_errors, RedisError)

    untaken: ClassVar[deque[tuple[dict[str, Any], str, str]]] = deque(maxlen=_MAX_OWED)
    """Messages that Redis delivered but whose delivery it refused to note, for example when out of memory.

    The next connection puts them back. If this process ends before that, their owners send them again.
    """

    acknowledged: ClassVar[deque[str]] = deque(maxlen=_MAX_OWED)
    """Tags of messages whose acknowledgement Redis has not taken yet."""

    acknowledging_at: ClassVar[float] = 0.0
    """When those that wait are sent at the latest, if no message is taken before; seconds of `time.monotonic`."""

    def establish_connection(self) -> Self:
        """Connect, if Redis takes writes.

        Raises:
            RedisError: it does not.
        """
        connection = super().establish_connection()
        channel: Any = self._avail_channels[-1]  # type: ignore[attr-defined]
        try:
            channel.client.set(_PROBE_KEY, 1, px=_PROBE_MS)
            channel.qos.acknowledge_all()
            while self.untaken:
                payload, exchange, routing_key = self.untaken[0]
                channel._do_restore_message(payload, exchange, routing_key, channel.client)  # noqa: SLF001 - kombu's way to put one back
                self.untaken.popleft()
        except BaseException:
            self.close_connection(connection)  # type: ignore[arg-type]  # what it returned
            raise
        return connection


class _BrokerConnection(Connection):
    def get_transport_cls(self) -> type[_Transport]:
        """The same transport for every address: all are Redis."""
        return _Transport

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Self:
        """Connect; pauses between attempts are short."""
        pauses = {
            "interval_start": _FIRST_PAUSE_SECONDS,
            "interval_step": _FIRST_PAUSE_SECONDS,
            "interval_max": _LONGEST_PAUSE_SECONDS,
        }
        return super().ensure_connection(*args, **(pauses | kwargs))


BROKER_ERRORS: tuple[type[Exception], ...] = (*_Transport.connection_errors, *_Transport.channel_errors, KombuError)
"""Errors of calls to Celery when Redis does not answer, or refuses."""


class RedisBroker(AMQP):
    """The AMQP part of a Celery application, over these connections."""

    Connection = _BrokerConnection


worker_failed = Signal(name="worker_failed")
"""Sent when a worker stops taking tasks without having been asked to stop."""


class PatientConsumer(consumer.Consumer):
    """The part of a worker that takes tasks; after repeated failures it waits before it connects again."""

    _failed_at = float("-inf")
    _pause_seconds = 0.0

    def start(self) -> None:
        """Take tasks until the worker stops."""
        try:
            super().start()
        except Exception:
            worker_failed.send(sender=self)
            raise

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Close the connection, and wait before the next."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception:  # noqa: BLE001 - logged
            # It is lost anyway; errors of closing it must not end the worker with its running tasks.
            _log.exception("a lost connection to Redis was not closed in order")
        was_steady = time.monotonic() - self._failed_at > self._pause_seconds + _STEADY_SECONDS
        self._pause_seconds = 0.0 if was_steady else min(self._pause_seconds + 1.0, _LONGEST_PAUSE_SECONDS)
        self._failed_at = time.monotonic()
        while time.monotonic() < self._failed_at + self._pause_seconds:
            state.maybe_shutdown()
            time.sleep(0.2)
