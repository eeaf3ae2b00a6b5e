"""Redis as Celery's broker: one that answers and refuses is one that is away.

As kombu has it, an answer such as READONLY, OOM, MISCONF or NOPERM is an error of the caller: a Celery worker that gets
one calls it unrecoverable and ends. It is Redis' trouble, though, and goes by: a failover, a full disk, a password that
is being changed. So here every error of Redis is one of the connection, and a Redis that refuses writes is not
connected to: kombu and Celery then do what they do while nobody listens.
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
from kombu.exceptions import KombuError
from kombu.transport import redis, virtual
from redis.exceptions import RedisError

_PROBE_KEY = "probe"
_PROBE_MS = 1000
_MAX_OWED = 1000

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_STEADY_SECONDS = 10.0
"""After a connection that held for so long the pauses begin anew."""


_log = logging.getLogger(__name__)


class _QoS(redis.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message as delivered; it has been taken out of its queue already."""
        try:
            super().append(message, delivery_tag)
        except (RedisError, OSError):
            delivery = message.delivery_info
            _Transport.untaken.append((message._raw, delivery["exchange"], delivery["routing_key"]))  # noqa: SLF001 - as kombu's own does
            raise

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message, now or with the next one; in any case the worker may have another.

        kombu would keep the worker from that: after an acknowledgement that fails it waits for the same one for ever.
        """
        _Transport.acknowledged.append(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)
        try:
            self.acknowledge_all()
        except (RedisError, OSError) as error:
            _log.warning("an acknowledgement waits until Redis takes it: %r", error)

    def acknowledge_all(self) -> None:
        """Acknowledge what has ended.

        Raises:
            RedisError, OSError: Redis does not take it.
        """
        while _Transport.acknowledged:
            pipe: Any = self._remove_from_indices(_Transport.acknowledged[0])  # type: ignore[attr-defined]
            pipe.execute()
            _Transport.acknowledged.popleft()


class _Channel(redis.Channel):
    """A channel that knows where Redis is, also once the connection that opened it is closed.

    kombu asks that connection, and an AttributeError, which ends the worker, is the answer. But a channel needs Redis
    later, too: to acknowledge tasks that end after a loss, and to be closed when the first attempt failed half-way, as
    it does while a worker waits for a task and the socket for commands is the first to tell of the loss.
    """

    QoS = _QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._known_params: dict[bool, dict[str, Any]] = {}
        super().__init__(*args, **kwargs)
        self._connparams()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - as kombu calls it
        if asynchronous not in self._known_params:
            self._known_params[asynchronous] = super()._connparams(asynchronous)  # type: ignore[misc]
        return dict(self._known_params[asynchronous])


class _Transport(redis.Transport):
    Channel = _Channel
    connection_errors = (*redis.Transport.connection_errors, RedisError)

    untaken: ClassVar[deque[tuple[dict[str, Any], str, str]]] = deque(maxlen=_MAX_OWED)
    """Messages that Redis gave and whose delivery it then refused to note, as one that is out of memory does.

    The next connection puts them back. If this process ends before, their owners send them again.
    """

    acknowledged: ClassVar[deque[str]] = deque(maxlen=_MAX_OWED)
    """Tags of messages whose acknowledgement Redis has not taken yet."""

    def establish_connection(self) -> Self:
        """Connect to a Redis that takes writes.

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
        """The transport of every address that Celery is given here: each is a Redis."""
        return _Transport

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Self:
        """Connect, and try again at intervals that are never long."""
        pauses = {
            "interval_start": _FIRST_PAUSE_SECONDS,
            "interval_step": _FIRST_PAUSE_SECONDS,
            "interval_max": _LONGEST_PAUSE_SECONDS,
        }
        return super().ensure_connection(*args, **(pauses | kwargs))


BROKER_ERRORS: tuple[type[Exception], ...] = (*_Transport.connection_errors, *_Transport.channel_errors, KombuError)
"""What sending and asking raise when Redis does not answer, or refuses."""


class RedisBroker(AMQP):
    """What a Celery application sends and receives with."""

    Connection = _BrokerConnection


worker_failed = Signal(name="worker_failed")
"""Sent when a worker takes no more tasks, whatever the reason, and was not asked to stop."""


class PatientConsumer(consumer.Consumer):
    """The part of a worker that takes tasks; it lets go of a connection that fails again and again for a while."""

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
        """Let go of the connection, and wait before the next."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception:  # noqa: BLE001 - told
            # It is lost anyway; whatever its closing raises must not end the worker, and what runs in it.
            _log.exception("a lost connection to Redis was not closed in order")
        was_steady = time.monotonic() - self._failed_at > self._pause_seconds + _STEADY_SECONDS
        self._pause_seconds = 0.0 if was_steady else min(self._pause_seconds + 1.0, _LONGEST_PAUSE_SECONDS)
        self._failed_at = time.monotonic()
        while time.monotonic() < self._failed_at + self._pause_seconds:
            state.maybe_shutdown()
            time.sleep(0.2)
