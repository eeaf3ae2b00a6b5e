"""Kafka: where it is, how to log in, and what its topics are called."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, PositiveFloat, SecretStr, model_validator
from pydantic_settings import NoDecode

from eldermesh.contract.tenants import InboxTenant, distinct_tenants
from eldermesh.kafka.access import KafkaAccess, KafkaProtocol, KafkaSecurity, KafkaSecurityError, SaslMechanism
from shared.addresses import Brokers
from shared.settings.comma_list import SPLIT
from shared.tenant_weights import TenantWeights

_PREFIX_PATTERN = r"^[A-Za-z0-9._-]{0,64}$"


class KafkaSettings(BaseModel):
    """Addresses and logins of Kafka."""

    kafka_bootstrap: Brokers = Field("127.0.0.1:9092", description="Kafka bootstrap servers, comma separated.")
    broker_profile: Literal["kafka", "embedded"] = Field(
        "kafka", description="`embedded` turns off what the embedded broker cannot do and shortens its waits."
    )
    kafka_security: KafkaProtocol = Field("plaintext", description="How Kafka is spoken to: TLS or not, login or not.")
    kafka_ca: Path | None = Field(
        None, description="File (PEM) of the CA that signs the brokers' certificates; those of the system by default."
    )
    kafka_certificate: Path | None = Field(None, description="File (PEM) of a client certificate for Kafka.")
    kafka_key: Path | None = Field(None, description="File (PEM) of its key, not encrypted.")
    kafka_sasl_mechanism: SaslMechanism | None = Field(None, description="How the user logs in to Kafka.")
    kafka_username: str | None = Field(None, description="The user that logs in to Kafka.")
    kafka_password: SecretStr | None = Field(None, description="The password of that user.")

    @model_validator(mode="after")
    def _kafka_login_fits(self) -> Self:
        """What is half set, or a file that cannot be used, is refused at the start and not at the first connection."""
        try:
            _ = self.kafka
        except KafkaSecurityError as error:
            name = "security" if error.field == "protocol" else error.field
            raise ValueError(f"MESH_KAFKA_{name.upper()}: {error.reason}") from error
        return self

    @cached_property
    def kafka(self) -> KafkaAccess:
        """Where Kafka is, and how to log in there."""
        security = KafkaSecurity(
            protocol=self.kafka_security,
            ca=self.kafka_ca,
            certificate=self.kafka_certificate,
            key=self.kafka_key,
            sasl_mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password,
        )
        return KafkaAccess(self.kafka_bootstrap, security)


class TopicSettings(BaseModel):
    """Names of topics, and who has one."""

    topic_prefix: Annotated[str, Field(pattern=_PREFIX_PATTERN)] = Field(
        "", description="Put before every topic name and Redis key, so that environments can share a cluster."
    )
    tenants: Annotated[tuple[InboxTenant, ...], NoDecode, SPLIT, AfterValidator(distinct_tenants)] = Field(
        (), description="Tenants with an inbox of their own, `jobs.<tenant>`, which an ACL can guard."
    )
    tenant_weights: TenantWeights = Field(
        TenantWeights(), description="Chunks a tenant gets for each one of others that wait in the same priority."
    )
    submit_tenant: InboxTenant | None = Field(
        None, description="Verbs submit and cancel in the inbox of this tenant, `jobs.<tenant>`, instead of in `jobs`."
    )
    group_session_seconds: PositiveFloat | None = Field(
        None, description="How long a dead consumer keeps its partitions; 45 on Kafka, 3 embedded."
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None, description="Partitions of each topic; 12 on Kafka, 4 embedded."
    )

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.topic_prefix}{name}"
