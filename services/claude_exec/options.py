"""The options and prompts of a `claude` job: how they are read, and which are refused."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import BoundedSemaphore, Lock, Thread
from typing import Annotated, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from eldermesh.contract.vocabulary import FiniteFloat
from services.claude_exec.output_schema.judge import judge_output_schema
from shared.consumer.invalid_reason import reason_of
from shared.errors import DeadLetterError
from shared.settings import Settings

PermissionMode = Literal["default", "acceptEdits", "plan", "dontAsk", "bypassPermissions"]

MAX_SCHEMA_BYTES = 64 * 1024
"""The CLI gets it as one argument; the kernel's limit is 128 KiB."""

MAX_RULES_BYTES = 96 * 1024
"""Of all allowed tools, and of all disallowed tools; each is one argument."""

MAX_PATH_BYTES = 4096
"""The limit of Linux. The time to resolve a path grows with the square of its length."""

_LOOK_SECONDS = 1.0
_LOOKING = BoundedSemaphore(8)
"""Limits the threads that resolve paths; a thread stays while its file system does not answer."""

_LATE: set[Path] = set()
"""Paths whose threads were not done in time. No other thread is started for them, so that one unreachable mount cannot
take all threads."""
_LATE_LOCK = Lock()

_NO_ANSWER = f"its file system did not answer within {_LOOK_SECONDS:g} s"

ToolRule = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{0,63}(\([^()\x00-\x1f\x7f]{1,500}\))?$")]
"""A tool, as `Read`, or some uses of one, as `Bash(git log:*)`."""


class ClaudeOptions(BaseModel):
    """Options of a `claude` job. Amounts are US dollars, durations seconds.

    Attributes:
        model: Name or alias; None: what the CLI takes by itself.
        system_prompt: Instead of the CLI's own.
        allowed_tools: The tools that the model is offered, and may use without asking; none by default.
        disallowed_tools: Uses that stay forbidden, whatever `allowed_tools` and `permission_mode` say.
        permission_mode: What happens to uses that no rule allows: nobody can be asked, so `default` denies them.
        max_turns: Requests to the model.
        max_cost_usd: Of one prompt; the turn that goes above it is the last one.
        cwd: Working directory; None: an empty one that is removed afterwards.
        timeout_seconds: Wall clock of one prompt; None: the setting's.
        output_schema: JSON Schema of the output, which then is an object in place of text.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@/\[\]-]{0,127}$")] | None = None
    system_prompt: Annotated[str, StringConstraints(min_length=1, max_length=100_000)] | None = None
    allowed_tools: Annotated[tuple[ToolRule, ...], Field(max_length=100)] = ()
    disallowed_tools: Annotated[tuple[ToolRule, ...], Field(max_length=100)] = ()
    permission_mode: PermissionMode = "default"
    max_turns: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_cost_usd: Annotated[FiniteFloat, Field(gt=0)] | None = None
    cwd: Path | None = None
    timeout_seconds: Annotated[FiniteFloat, Field(gt=0)] | None = None
    output_schema: dict[str, JsonValue] | None = None

    @classmethod
    def read(cls, options: Mapping[str, JsonValue]) -> Self:
        """Read the options of a submit.

        Raises:
            DeadLetterError: `invalid`, with what is wrong, and where.
        """
        try:
            return cls.model_validate_json(orjson.dumps(dict(options)))
        except ValidationError as error:
            raise DeadLetterError("invalid", _reason(reason_of(error))) from error

    @property
    def offered_tools(self) -> tuple[str, ...]:
        """Names of the tools in `allowed_tools`, each once."""
        return tuple(dict.fromkeys(_tool(rule) for rule in self.allowed_tools))

    @field_validator("system_prompt")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("must not be empty")
        return value

    @field_validator("allowed_tools", "disallowed_tools")
    @classmethod
    def _fits_an_argument(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sum(len(rule.encode()) + 1 for rule in value) > MAX_RULES_BYTES:
            raise ValueError(f"at most {MAX_RULES_BYTES} bytes")
        return value

    @field_validator("cwd")
    @classmethod
    def _a_possible_path(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        if "\0" in str(value):
            raise ValueError("a path has no NUL in it")
        if len(os.fsencode(value)) > MAX_PATH_BYTES:
            raise ValueError(f"at most {MAX_PATH_BYTES} bytes")
        return value

    @field_validator("output_schema")
    @classmethod
    def _a_schema_of_objects(cls, value: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if value is None:
            return None
        if value.get("type") != "object":
            raise ValueError('the type must be "object"')
        if len(orjson.dumps(value)) > MAX_SCHEMA_BYTES:
            raise ValueError(f"at most {MAX_SCHEMA_BYTES} bytes")
        judge_output_schema(value)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        forbidden = set(self.disallowed_tools)
        for rule in self.allowed_tools:
            if rule in forbidden or _tool(rule) in forbidden:
                raise ValueError(f"both allowed and disallowed: {rule}")
        if self.permission_mode in ("acceptEdits", "bypassPermissions") and not self.allowed_tools:
            raise ValueError(f"permission_mode {self.permission_mode} means nothing without allowed_tools")
        return self


def judged_options(options: Mapping[str, JsonValue], settings: Settings) -> ClaudeOptions:
    """The options, if these settings allow them.

    Raises:
        DeadLetterError: `invalid`, with the reason for the sender.
    """
    read = ClaudeOptions.read(options)
    refusal = _refusal(read, settings)
    if refusal is not None:
        raise DeadLetterError("invalid", _reason(refusal))
    return read


def _refusal(options: ClaudeOptions, settings: Settings) -> str | None:
    if options.permission_mode not in settings.claude_permission_modes:
        return f"permission_mode: MESH_CLAUDE_PERMISSION_MODES does not allow {options.permission_mode}"
    longest = settings.claude_timeout_seconds
    if options.timeout_seconds is not None and options.timeout_seconds > longest:
        return f"timeout_seconds: at most {longest:g} (MESH_CLAUDE_TIMEOUT_SECONDS)"
    refused = None if options.cwd is None else _refused_in_time(options.cwd, settings)
    return None if refused is None else f"cwd: {refused}"


def _refused_in_time(cwd: Path, settings: Settings) -> str | None:
    """`refused_directory`, or that the file system does not answer, as an unreachable network mount."""
    if cwd in _LATE or not _LOOKING.acquire(blocking=False):
        return _NO_ANSWER
    refused: Future[str | None] = Future()

    def look() -> None:
        try:
            refused.set_result(refused_directory(cwd, settings))
        except BaseException as error:  # noqa: BLE001 - raised in the caller
            refused.set_exception(error)
        finally:
            with _LATE_LOCK:
                _LATE.discard(cwd)
            _LOOKING.release()

    # A daemon thread, not an executor's: one that never returns must not keep the process from ending.
    try:
        Thread(target=look, name="cwd", daemon=True).start()
    except RuntimeError:  # the machine has no thread left
        _LOOKING.release()
        raise
    try:
        return refused.result(_LOOK_SECONDS)
    except TimeoutError:
        with _LATE_LOCK:
            if not refused.done():  # else it was done just now, and nobody would remove it
                _LATE.add(cwd)
        return _NO_ANSWER


def refused_directory(cwd: Path, settings: Settings) -> str | None:
    """Why a CLI may not work in this directory; None if it may. Symbolic links are resolved.

    The directory need not exist: the CLI may run on another machine.
    """
    if not cwd.is_absolute():
        return "must be absolute"
    try:
        resolved = cwd.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself is a RuntimeError
        return f"leads nowhere ({type(error).__name__})" if not isinstance(error, OSError) else f"{error.strerror}"
    if not any(resolved.is_relative_to(root.resolve()) for root in settings.claude_roots):
        return "does not lie below a directory of MESH_CLAUDE_ROOTS"
    data = settings.data_dir.resolve()
    if resolved.is_relative_to(data) or data.is_relative_to(resolved):
        return "holds the mesh's own data"
    return None


def prompt_of(item: JsonValue) -> str:
    """The prompt of an item: the item itself, or its `prompt`.

    Raises:
        DeadLetterError: `invalid`: it is not a prompt, or is empty.
    """
    prompt = item
    if isinstance(item, dict):
        if set(item) != {"prompt"}:
            raise DeadLetterError("invalid", 'an item is a text or {"prompt": text}')
        prompt = item["prompt"]
    if not isinstance(prompt, str):
        raise DeadLetterError("invalid", 'an item is a text or {"prompt": text}')
    if not prompt.strip():
        raise DeadLetterError("invalid", "an empty prompt")
    return prompt


def judge_prompts(items: Sequence[JsonValue]) -> None:
    """Check that every item is a prompt.

    Raises:
        DeadLetterError: `invalid`, with the index of the first that is not.
    """
    for index, item in enumerate(items):
        try:
            prompt_of(item)
        except DeadLetterError as error:
            raise DeadLetterError("invalid", f"items[{index}]: {error.reason}") from error


def _tool(rule: str) -> str:
    return rule.partition("(")[0]


def _reason(text: str) -> str:
    return f"options of claude: {text}"
