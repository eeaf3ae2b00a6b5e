"""What follows when a service cannot connect to Kafka: wait for it, or stop and say what to correct."""

from __future__ import annotations

from eldermesh.kafka.errors import KafkaRefusedError, no_broker
from shared.errors import ConfigurationError, RetryableError
from shared.settings import Settings


def not_connected(settings: Settings, error: BaseException) -> RetryableError | ConfigurationError:
    """The error of a service whose connection failed with `error`."""
    if isinstance(error, KafkaRefusedError):
        return ConfigurationError(str(error))
    return RetryableError(no_broker(settings.kafka_bootstrap, error))
