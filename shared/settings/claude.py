"""Claude: where prompts go, and what one CLI run may take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, SecretStr
from pydantic_settings import NoDecode

from shared.addresses import BaseUrl
from shared.hidden_paths import HiddenPaths
from shared.settings.comma_list import SPLIT, Words


class ClaudeSettings(BaseModel):
    """The API, the CLI, and the bounds of both."""

    anthropic_base_url: BaseUrl | None = Field(
        None, description="Where Claude CLIs send their requests; empty: the real API, which needs the key."
    )
    anthropic_api_key: SecretStr | None = Field(
        None, description="Key of the Anthropic API; an endpoint on the loopback interface needs none."
    )
    claude_roots: Annotated[tuple[Path, ...], NoDecode, SPLIT] = Field(
        (), description="Directories below which a `claude` job's `cwd` may lie."
    )
    claude_permission_modes: Words = Field(
        ("default", "acceptEdits", "plan", "dontAsk"),
        description="Permission modes that `claude` jobs may ask for.",
    )
    claude_environment: Words = Field(
        (), description="Names of variables that a CLI gets from its worker's environment as well."
    )
    claude_hidden_paths: Annotated[HiddenPaths, SPLIT] = Field(
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
