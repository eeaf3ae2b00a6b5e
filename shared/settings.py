"""All settings: one typed class, read from `MESH_*` environment variables and an optional `.env`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from platformdirs import user_state_path
from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from eldermesh.contract.tenants import InboxTenant, distinct_tenants
from eldermesh.contract.vocabulary import Name
from eldermesh.kafka.access import KafkaAccess, KafkaProtocol, KafkaSecurity, KafkaSecurityError, SaslMechanism
from eldermesh.tls import TlsFileError, tls_context
from shared.addresses import BaseUrl, Brokers, HostPort, RedisUrl
from shared.blobs.directory import blob_directory
from shared.errors import ConfigurationError
from shared.hidden_paths import HiddenPaths
from shared.ray_resources import RayDemands
from shared.secret_files import SUFFIX, SecretFiles, is_secret
from shared.tenant_weights import TenantWeights
from shared.text.regular_file import read_regular_file

DEMO_FUNCTIONS = "eldermesh_cli.demo.work:*"
_ENV_FILE = ".env"
_MAX_ENV_BYTES = 1024 * 1024
_PREFIX_PATTERN = r"^[A-Za-z0-9._-]{0,64}$"

_Count = Annotated[int, Field(ge=1)]
_Words = Annotated[tuple[str, ...], NoDecode]
"""A list, written with commas between its entries."""


def _default_slots() -> int:
    return max(2, os.cpu_count() or 2)


_LOOKS_LIKE_JSON = re.compile(r"""\s*(?:["'{]|\[\s*["'\]])""")
"""A glob may begin with a bracket, `[a-c]*:run`; no entry begins with a quote."""


def _refuse_json_list(text: str) -> None:
    if not _LOOKS_LIKE_JSON.match(text):
        return
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    if isinstance(entries, str):
        entries = [entries]
    is_list = isinstance(entries, list) and all(isinstance(entry, str) for entry in entries)
    example = ",".join(entries) if is_list and entries is not None else "first,second"
    raise ValueError(f"a list is written without brackets and quotes, its entries separated by commas: {example[:200]}")


def _check_env_file() -> None:
    """See that the `.env` of the working directory, if there is one, can be read.

    Raises:
        FileRefusedError: it is no regular file, or larger than any list of settings.
        OSError: it cannot be read.
    """
    env_file = Path(_ENV_FILE)
    if env_file.exists() and not env_file.is_dir():  # a pipe would be waited for; a directory may be a virtualenv
        read_regular_file(env_file, _MAX_ENV_BYTES)


def _told(error: ErrorDetails) -> str:
    """`MESH_NAME: reason`; the reasons of what concerns several settings name them."""
    name = f"MESH_{'.'.join(map(str, error['loc'])).upper()}: " if error["loc"] else ""
    return f"{name}{error['msg'].removeprefix('Value error, ')}"


UNSECURED: Final[dict[str, object]] = {
    "kafka_security": "plaintext",
    **dict.fromkeys(("kafka_ca", "kafka_certificate", "kafka_key"), None),
    **dict.fromkeys(("kafka_sasl_mechanism", "kafka_username", "kafka_password"), None),
    **dict.fromkeys(("redis_ca", "redis_certificate", "redis_key"), None),
}
"""What settings of a mesh on the loopback interface have, whatever the environment says of a secured one."""


def _check_redis_files(settings: Settings) -> None:
    files = {"ca": settings.redis_ca, "certificate": settings.redis_certificate, "key": settings.redis_key}
    if settings.redis_url.get_secret_value().startswith("rediss://"):
        tls_context(**files)
        return
    for field, path in files.items():
        if path is not None:
            raise TlsFileError(field, "MESH_REDIS_URL uses no TLS: let it begin with rediss://, or leave this out")


class Settings(BaseSettings):
    """The settings in force. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        env_prefix="MESH_",
        env_file=_ENV_FILE,
        env_file_encoding="utf-8-sig",
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )

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
    redis_url: RedisUrl = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey address; `rediss://user:password@host:port/0` with TLS.",
    )
    redis_ca: Path | None = Field(
        None, description="File (PEM) of the CA that signs Redis' certificate; those of the system are trusted as well."
    )
    redis_certificate: Path | None = Field(None, description="File (PEM) of a client certificate for Redis.")
    redis_key: Path | None = Field(None, description="File (PEM) of its key, not encrypted.")
    topic_prefix: Annotated[str, Field(pattern=_PREFIX_PATTERN)] = Field(
        "", description="Put before every topic name and Redis key, so that environments can share a cluster."
    )
    tenants: Annotated[tuple[InboxTenant, ...], NoDecode, AfterValidator(distinct_tenants)] = Field(
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
    data_dir: Path = Field(
        default_factory=lambda: user_state_path("eldermesh"), description="Where all state of this machine lies."
    )
    heartbeat_file: Path | None = Field(
        None,
        description="A service writes it while it works, for the health check of its container. Each process needs"
        " its own.",
    )
    blob_url: str | None = Field(None, description="fsspec URL for large results; a directory of the data dir.")
    blob_retention_seconds: PositiveFloat | None = Field(
        None,
        description="Celery Beat has every file of this age in the blob directory removed, so keep no others there."
        " Without it none is removed. URLs of removed blobs lead nowhere: choose longer than anybody reads"
        " `jobs.progress`.",
    )
    housekeeping_seconds: Annotated[float, Field(ge=1)] = Field(
        3600.0, description="Time between two housekeeping tasks that Celery Beat sends."
    )
    python_functions: _Words = Field(
        ("math:*", DEMO_FUNCTIONS), description="Globs of functions that `python` jobs may call."
    )
    python_at_once: Annotated[int, Field(ge=1, le=1000)] = Field(
        100, description="Most calls of a coroutine function that run at a time in a chunk; a job asks by `at_once`."
    )
    slots: Annotated[int, Field(ge=1, le=4096)] = Field(
        default_factory=_default_slots, description="Chunks that run at once on the Celery engine."
    )
    chunk_items: _Count | None = Field(None, description="Items a chunk, instead of what the policy chooses.")
    lease_seconds: PositiveFloat = Field(15.0, description="A claim's lease.")
    heartbeat_seconds: PositiveFloat = Field(5.0, description="Time between renewals of a claim.")
    claim_timeout_seconds: PositiveFloat = Field(
        60.0, description="A dispatched chunk without a claim for so long is sent again."
    )
    max_chunk_deaths: _Count = Field(2, description="Deaths after which a chunk is bisected.")
    max_item_deaths: _Count = Field(3, description="Deaths after which an item has crashed.")
    max_job_age_seconds: PositiveFloat = Field(7 * 86400.0, description="No job lives longer.")
    item_spans: _Count = Field(
        400,
        description="Most items of a job that have a span, and again of failed or slow ones; a chunk has one of both.",
    )
    flush_items: _Count = Field(500, description="Results a runner gathers before it publishes.")
    flush_seconds: PositiveFloat = Field(0.1, description="Longest time a result is gathered.")
    drain_seconds: PositiveFloat = Field(15.0, description="Longest a service takes to drain.")
    # Advice and holds: how long jobs wait for sages and for people.
    advise_seconds: NonNegativeFloat = Field(
        2.0, description="Longest a job waits for the panel's advice; 0 where no sages run."
    )
    sage_seconds: PositiveFloat = Field(0.25, description="What each sage gets to answer.")
    incident_missing: Literal["auto", "hold", "allow"] = Field(
        "auto", description="What follows where incident says nothing: `auto` holds jobs whose tools can write."
    )
    hold_seconds: PositiveFloat = Field(86400.0, description="A hold that nobody decides on for so long is denied.")
    hold_reminder_seconds: PositiveFloat = Field(3600.0, description="A hold is announced again after so long.")
    # Pauses: what a job does when a quota is used up.
    pause_seconds: PositiveFloat = Field(
        30.0, description="First pause of a job when nobody says how long a quota is used up; doubled each time."
    )
    pause_longest_seconds: PositiveFloat = Field(3600.0, description="Longest of these pauses.")
    # Notifications: who is told what, and how often a channel is tried.
    notify_rules: Path | None = Field(None, description="File (YAML) of the notifier's channels and rules.")
    notify_allow_private: bool = Field(
        default=False,
        description="Let webhooks reach addresses that are not public, and use `http://`: for networks inside.",
    )
    notify_max_age_seconds: PositiveFloat = Field(
        86400.0, description="News older than this is told to nobody: not begun, and not tried again."
    )
    notify_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Attempts after which a message is given up, and becomes a dead letter."
    )
    notify_retry_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        5.0, description="Longest pause before the first retry of a message; doubled each time, to an hour."
    )
    # Claude: where prompts go, and what one CLI run may take.
    anthropic_base_url: BaseUrl | None = Field(
        None, description="Where Claude CLIs send their requests; empty: the real API, which needs the key."
    )
    anthropic_api_key: SecretStr | None = Field(
        None, description="Key of the Anthropic API; an endpoint on the loopback interface needs none."
    )
    claude_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Directories below which a `claude` job's `cwd` may lie."
    )
    claude_permission_modes: _Words = Field(
        ("default", "acceptEdits", "plan", "dontAsk"),
        description="Permission modes that `claude` jobs may ask for.",
    )
    claude_environment: _Words = Field(
        (), description="Names of variables that a CLI gets from its worker's environment as well."
    )
    claude_hidden_paths: HiddenPaths = Field(
        (Path("/run/secrets"), Path("/run/logins")),
        validate_default=True,
        description="Files and directories that no tool for files may read in a prompt.",
    )
    claude_isolate_tools: bool | None = Field(
        None, description="Whether a CLI hides its key from tools; by default where bubblewrap and socat are."
    )
    claude_cli: str | None = Field(None, description="Another CLI than the one in the claude-agent-sdk package.")
    claude_timeout_seconds: PositiveFloat = Field(
        1800.0, description="Longest a prompt may take, and what it may take when its job does not say."
    )
    claude_idle_seconds: PositiveFloat = Field(300.0, description="A CLI that says nothing for so long is stopped.")
    claude_start_seconds: PositiveFloat = Field(60.0, description="Longest a CLI may take to start.")
    claude_grace_seconds: PositiveFloat = Field(
        5.0, description="What a CLI gets to end after its result, and again after SIGTERM, before it is killed."
    )
    claude_max_output_bytes: Annotated[int, Field(ge=1024)] = Field(
        64 * 1024 * 1024, description="Most that one CLI run may write to its standard output."
    )
    claude_max_retries: Annotated[int, Field(ge=0, le=20)] = Field(
        4, description="How often a CLI repeats a request that the API did not answer well."
    )
    claude_wait_seconds: NonNegativeFloat = Field(
        10.0, description="A CLI that is told to wait for the API longer than this ends, and its job pauses instead."
    )
    claude_context_tokens: Annotated[int, Field(ge=0, le=100_000)] = Field(
        2000, description="Longest context of passages and lessons before a `claude` job's prompt, in tokens; 0: none."
    )
    claude_slots: Annotated[int, Field(ge=1, le=1024)] = Field(
        4, description="Prompts of `claude.requests` that one `claude_exec` service runs at once."
    )
    # Ray: the engine of large jobs.
    ray_address: HostPort | None = Field(
        None, description="`host:port` of a Ray head; without one every job runs on Celery. `mesh up` has its own."
    )
    ray_auth_token: SecretStr | None = Field(None, description="Token of the Ray cluster, at least 32 characters.")
    ray_threshold_items: _Count = Field(
        100, description="Jobs of so many items go to Ray, smaller ones to Celery; the submit's `engine` wins."
    )
    ray_workloads: Annotated[tuple[Name, ...], NoDecode] = Field(
        (),
        description="Workloads that Ray may run, all where none is named; others go to Celery whatever their size. For"
        " Ray nodes that lack what a workload needs, such as the Claude CLI.",
    )
    ray_min_runners: Annotated[int, Field(ge=0, le=4096)] = Field(
        0, description="Runners of each workload on Ray that stay when idle, once they were needed."
    )
    ray_max_runners: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Most runners of each workload on Ray; as many as `MESH_SLOTS` by default."
    )
    ray_idle_seconds: PositiveFloat = Field(60.0, description="A runner on Ray idle for so long ends.")
    ray_resources: RayDemands = Field(
        RayDemands(),
        description='What a runner takes, by workload: `{"python": {"num_cpus": 0.5, "memory": 1000000000,'
        ' "resources": {"gpu_box": 1}, "max_runners": 8}}`; one CPU by default.',
    )
    ray_dir: Path | None = Field(
        None, description="Where Ray keeps sockets and logs of this machine; `ray` in the data dir by default."
    )
    ray_join: bool = Field(
        default=False,
        description="Start a Ray node without CPUs beside the router: needed where no Ray node is on its host.",
    )
    ray_on_demand: bool = Field(
        default=False,
        description="A head is started once the router asks, by a file in the data dir. Set by `mesh up`.",
    )
    otlp_endpoint: BaseUrl | None = Field(None, description="OTLP/HTTP base address; spans are not exported without.")
    otlp_metrics: bool = Field(
        default=True, description="Whether metrics are sent; Jaeger takes spans alone, and refuses them."
    )
    otlp_metrics_endpoint: BaseUrl | None = Field(
        None,
        description="OTLP/HTTP base address for metrics, as http://localhost:9090/api/v1/otlp of a Prometheus;"
        " `MESH_OTLP_ENDPOINT` by default.",
    )
    trace_query_url: BaseUrl | None = Field(None, description="Jaeger query API base address for `mesh trace`.")
    trace_ui_url: BaseUrl | None = Field(None, description="Base address for `trace_url`, as http://localhost:16686.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator(
        *("python_functions", "claude_roots", "claude_permission_modes", "claude_environment", "claude_hidden_paths"),
        *("ray_workloads", "tenants"),
        mode="before",
    )
    @classmethod
    def _split_list(cls, value: object) -> object:
        if isinstance(value, str):
            _refuse_json_list(value)
            return tuple(entry.strip() for entry in value.split(",") if entry.strip())
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, info: ValidationInfo) -> object:
        """Compose files write `${MESH_PARTITIONS:-}` for what may be set."""
        is_optional = info.field_name is not None and cls.model_fields[info.field_name].default is None
        return None if is_optional and value == "" else value

    @field_validator("blob_url")
    @classmethod
    def _a_blob_store(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                blob_directory(value)
            except RuntimeError as error:  # `~nobody`
                raise ValueError(str(error)) from error
            except OSError as error:
                raise ValueError(f"it is relative, and the working directory: {error.strerror}") from error
        return value

    @model_validator(mode="after")
    def _logins_fit(self) -> Self:
        """What is half set, or a file that cannot be used, is refused at the start and not at the first connection."""
        try:
            _ = self.kafka
        except KafkaSecurityError as error:
            name = "security" if error.field == "protocol" else error.field
            raise ValueError(f"MESH_KAFKA_{name.upper()}: {error.reason}") from error
        try:
            _check_redis_files(self)
        except TlsFileError as error:
            raise ValueError(f"MESH_REDIS_{error.field.upper()}: {error.reason}") from error
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but what was derived from the old values is derived anew."""
        copied = super().model_copy(update=update, deep=deep)
        for derived in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[derived]
        return copied

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

    @cached_property
    def partition_count(self) -> int:
        """Partitions of each topic, the profile's default applied."""
        if self.partitions is not None:
            return self.partitions
        return 4 if self.broker_profile == "embedded" else 12

    @cached_property
    def blobs(self) -> str:
        """The blob store's URL, the default applied.

        Raises:
            ConfigurationError: the data directory is relative, and the working directory is gone.
        """
        if self.blob_url:
            return self.blob_url
        try:
            return (self.data_dir.absolute() / "blobs").as_uri()
        except OSError as error:
            raise ConfigurationError(
                f"MESH_DATA_DIR is relative, and the working directory: {error.strerror}"
            ) from error

    @property
    def metrics_endpoint(self) -> str | None:
        """Where metrics go; None if they are not sent."""
        return (self.otlp_metrics_endpoint or self.otlp_endpoint) if self.otlp_metrics else None

    @cached_property
    def ray_runners(self) -> int:
        """Most runners of a workload on Ray, the default applied; what a workload's own demand says comes before it."""
        return self.ray_max_runners or self.slots

    def is_for_ray(self, workload: str) -> bool:
        """Whether jobs of this workload may go to Ray."""
        return not self.ray_workloads or workload in self.ray_workloads

    @classmethod
    def of_environment(cls, **given: object) -> Self:
        """The settings of the environment and of `.env` in the working directory; those that are `given` come first.

        Raises:
            ConfigurationError: one is wrong, or `.env` is no regular file (a pipe would be waited for), or cannot be
                read.
        """
        try:
            _check_env_file()
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            reasons = "; ".join(map(_told, error.errors(include_input=False, include_url=False)))
            raise ConfigurationError(f"the settings are wrong: {reasons}") from error
        except SettingsError as error:  # a value that has to be JSON and is none
            raise ConfigurationError(f"the settings are wrong: {error}") from error
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(f".env in the working directory cannot be read: {why}") from error

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.topic_prefix}{name}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's, which takes one directory
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Files of secrets come before variables: these may be there and empty."""
        variables = (env_settings, dotenv_settings)
        return init_settings, SecretFiles(settings_cls, variables), *variables

    def environment(self) -> dict[str, str]:
        """These settings as `MESH_*` variables, for a child process: one that is not set is empty.

        The child may inherit this process' own variables, or read the same `.env`, and these have to win.
        """
        values: dict[str, str] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if is_secret(field):
                values[f"MESH_{name.upper()}{SUFFIX}"] = ""
            if value is None:
                text = ""
            elif isinstance(value, SecretStr):
                text = value.get_secret_value()
            elif isinstance(value, tuple):
                text = ",".join(map(str, value))
            else:
                text = str(value)
            values[f"MESH_{name.upper()}"] = text
        return values
