"""The command line and the environment of one CLI run. The prompt goes through standard input."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import claude_agent_sdk
import orjson

from services.claude_exec.cli.run_directory import RunDirectory
from services.claude_exec.options import ClaudeOptions
from services.claude_exec.output_schema.judge import for_cli
from shared.errors import ConfigurationError
from shared.http_client import is_loopback
from shared.settings import Settings

BUNDLED_CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
"""The CLI in the SDK's package."""

_LEAST_USD = 0.000_001

INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS")
"""The worker's variables that a CLI gets; `MESH_CLAUDE_ENVIRONMENT` names more."""

_ISOLATING = ("bwrap", "socat")
"""Programs that isolation of tools needs: without `bwrap` the CLI does not start, without `socat` Bash fails."""

_LOOPBACK_KEY = "loopback-needs-no-key"
_BASH_SHARE = 0.8
"""Bash's share of the idle time: a running tool is silent, so its time-out must come before the idle watchdog."""

_HARDENED: Mapping[str, str] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # nobody waits for what ends after the result
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",  # a refusal is an outcome, not a reason to ask again
    "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
    "DISABLE_AUTOUPDATER": "1",
}


def cli_command(options: ClaudeOptions, place: RunDirectory, settings: Settings) -> list[str]:
    """The command line for these options; a system prompt is written to a file in the run's directory.

    The CLI reads no settings files of users or projects: their hooks are commands that the job does not allow.
    """
    command = [
        settings.claude_cli or str(BUNDLED_CLI),
        *("--print", "--verbose"),
        *("--input-format", "stream-json", "--output-format", "stream-json"),
        "--include-partial-messages",  # the idle watchdog needs them
        "--no-session-persistence",
        "--strict-mcp-config",
        "--setting-sources=",
        "--disable-slash-commands",
        *("--permission-mode", options.permission_mode),
        *("--tools", ",".join(options.offered_tools)),
    ]
    if options.allowed_tools:
        command += ["--allowedTools", ",".join(options.allowed_tools)]
    disallowed = [*options.disallowed_tools, *_no_reading(settings.claude_hidden_paths)]
    if disallowed:
        command += ["--disallowedTools", ",".join(disallowed)]
    if options.model is not None:
        command += ["--model", options.model]
    if options.max_turns is not None:
        command += ["--max-turns", str(options.max_turns)]
    if options.max_cost_usd is not None:
        # The CLI refuses a budget of 0, which a smaller amount would round to.
        command += ["--max-budget-usd", f"{max(options.max_cost_usd, _LEAST_USD):.6f}"]
    if options.system_prompt is not None:
        path = place.config / "system-prompt"
        path.write_text(options.system_prompt, encoding="utf-8")
        command += ["--system-prompt-file", str(path)]
    if options.output_schema is not None:
        command += ["--json-schema", orjson.dumps(for_cli(options.output_schema)).decode()]
    return command


def _no_reading(paths: Sequence[Path]) -> list[str]:
    """Rules that deny reading these paths and what is below: to `Read`, and so to `Grep`, `Glob` and commands as `cat`.

    Two slashes begin an absolute path. The CLI looks where a file that is asked for leads, but not where a rule does.
    """
    return [f"Read(/{path}{below})" for path in paths for below in ("", "/**")]


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
        parent: the worker's environment; only variables on the allow-list are taken from it.
        settings: endpoint, key, limits.
        place: the run's directory.
        cwd: the working directory.
        traceparent: of the parent of the CLI's spans; None: it exports no spans.
        tracestate: belongs to `traceparent`.

    Raises:
        ConfigurationError: there is neither a key nor an endpoint on loopback.
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
