"""The environment of a CLI: built from an allow-list. What a worker has in its own never gets there by itself."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import claude_agent_sdk

from services.claude_exec.cli.run_directory import RunDirectory
from shared.errors import ConfigurationError
from shared.http_client import is_loopback
from shared.settings import Settings

INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
"""What a CLI gets of its worker's environment; `MESH_CLAUDE_ENVIRONMENT` names more."""

_ISOLATING = ("bwrap", "socat")
"""What a CLI that is told to isolate tools needs: without the one it does not start, without the other Bash fails."""

_LOOPBACK_KEY = "loopback-needs-no-key"
_BASH_SHARE = 0.8
"""A tool that runs says nothing: its own time-out has to come before the idle watchdog."""

_HARDENED: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # nobody would be there for what ends after the result
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",  # a refusal is the outcome, not a reason to ask otherwise
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "DISABLE_AUTOUPDATER": "1",
}


def child_environment(
    parent: Mapping[str, str],
    settings: Settings,
    place: RunDirectory,
    cwd: Path,
    *,
    traceparent: str | None,
    tracestate: str | None = None,
) -> dict[str, str]:
    """All variables of one CLI run.

    Args:
        parent: the worker's environment.
        settings: endpoint, key, limits.
        place: the run's directory.
        cwd: where the CLI works.
        traceparent: of the span that the CLI's own spans shall lie below; None: it exports none.
        tracestate: what goes with `traceparent`.

    Raises:
        ConfigurationError: there is neither a key nor an endpoint that needs none.
    """
    names = (*INHERITED, *settings.claude_environment)
    environment = {name: parent[name] for name in names if name in parent}
    environment |= {
        **_HARDENED,
        "HOME": str(place.home),
        "CLAUDE_CONFIG_DIR": str(place.config),
        "TMPDIR": str(place.temporary),
        "CLAUDE_CODE_TMPDIR": str(place.temporary),
        "PWD": str(cwd),
        "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
        "CLAUDE_AGENT_SDK_VERSION": claude_agent_sdk.__version__,
        "CLAUDE_CODE_MAX_RETRIES": str(settings.claude_max_retries),
    }
    isolate = settings.claude_isolate_tools
    if isolate is None:
        isolate = all(shutil.which(program, path=environment.get("PATH")) for program in _ISOLATING)
    environment["CLAUDE_CODE_SUBPROCESS_ENV_SCRUB"] = "1" if isolate else "0"
    bash_ms = str(round(settings.claude_idle_seconds * _BASH_SHARE * 1000))
    environment |= {"BASH_DEFAULT_TIMEOUT_MS": bash_ms, "BASH_MAX_TIMEOUT_MS": bash_ms}
    return environment | _endpoint(settings) | _telemetry(settings, traceparent, tracestate)


def _endpoint(settings: Settings) -> dict[str, str]:
    url, key = settings.anthropic_base_url, settings.anthropic_api_key
    if key is None and (url is None or not is_loopback(url)):
        raise ConfigurationError("set MESH_ANTHROPIC_API_KEY, or MESH_ANTHROPIC_BASE_URL to an endpoint on loopback")
    endpoint = {"ANTHROPIC_API_KEY": _LOOPBACK_KEY if key is None else key.get_secret_value()}
    if url is not None:
        endpoint["ANTHROPIC_BASE_URL"] = url
    return endpoint


def _telemetry(settings: Settings, traceparent: str | None, tracestate: str | None) -> dict[str, str]:
    if traceparent is None or settings.otlp_endpoint is None:
        return {}
    telemetry = {
        "TRACEPARENT": traceparent,
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings.otlp_endpoint,
    }
    return telemetry | ({"TRACESTATE": tracestate} if tracestate else {})
