"""The real Claude CLI, bare, against the loopback endpoint: it takes what it gets for the Messages API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from services.claude_exec.cli.command import BUNDLED_CLI
from tests.loopback import LoopbackEndpoint, shared_loopback

RUN_SECONDS = 180.0
SCHEMA = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'

Ask: TypeAlias = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackEndpoint]:
    """One for all tests here, which only the CLI asks."""
    with shared_loopback(tmp_path_factory.mktemp("loopback")) as running:
        yield running


@pytest.fixture
def ask(endpoint: LoopbackEndpoint, tmp_path: Path) -> Ask:
    """Run the CLI with a prompt; all that it says. Its environment has nothing of ours."""

    def run(prompt: str, *arguments: str, **environment: str) -> list[dict[str, Any]]:
        process = subprocess.Popen(
            [str(BUNDLED_CLI), "--print", "--output-format", "stream-json", "--verbose", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "CLAUDE_CONFIG_DIR": str(tmp_path / "config"),
                "TMPDIR": str(tmp_path),
                "ANTHROPIC_BASE_URL": endpoint.url,
                "ANTHROPIC_API_KEY": "dummy",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "DISABLE_AUTOUPDATER": "1",
                **environment,
            },
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        try:
            said, trouble = process.communicate(prompt, timeout=RUN_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        assert said, trouble
        return [json.loads(line) for line in said.splitlines()]

    return run


def once(text: str) -> str:
    """A prompt that no other test has asked."""
    return f"{uuid4()} {text}"


def test_a_plain_reply(ask: Ask, endpoint: LoopbackEndpoint) -> None:
    """The prompt arrives as it was given, in one request, and its reply is the result."""
    prompt = once("Say hello.")
    result = ask(prompt)[-1]
    assert (result["type"], result["is_error"], result["num_turns"]) == ("result", False, 1)
    assert result["result"].endswith(prompt)
    (asked,) = endpoint.requests(prompt[:36])
    assert (asked["prompt"], asked["streamed"], asked["status"]) == (prompt, True, 200)
    assert asked["session_id"] == result["session_id"]


def test_streaming(ask: Ask) -> None:
    """The text comes in pieces, in order."""
    messages = ask("[[reply one two three four five]]", "--include-partial-messages")
    deltas = [
        message["event"]["delta"]["text"]
        for message in messages
        if message["type"] == "stream_event" and message["event"]["type"] == "content_block_delta"
    ]
    assert len(deltas) > 2
    assert "".join(deltas) == messages[-1]["result"] == "one two three four five"


def test_a_tool_call(ask: Ask, endpoint: LoopbackEndpoint) -> None:
    """The CLI runs the command, and feeds what it printed back; the steps go on after it."""
    prompt = once('[[tool Bash {"command": "echo fed-$((6 * 7))"}]] [[reply thank you]]')
    result = ask(prompt, "--allowedTools", "Bash")[-1]
    assert (result["is_error"], result["num_turns"], result["result"]) == (False, 2, "thank you")
    first, second = endpoint.requests(prompt)
    assert (first["turn"], first["tool_result"]) == (0, None)
    assert (second["turn"], second["tool_result"]) == (1, "fed-42")


def test_two_tool_calls(ask: Ask) -> None:
    """Each a turn; without a step after the last, its result is the reply."""
    prompt = '[[tool Bash {"command": "echo one"}]] [[tool Bash {"command": "echo two"}]]'
    result = ask(prompt, "--allowedTools", "Bash")[-1]
    assert (result["is_error"], result["num_turns"], result["result"]) == (False, 3, "two")


def test_costs(ask: Ask) -> None:
    """They are not zero, the same each time, and those of the figures that are asked for."""
    results = [ask("What does this cost?")[-1] for _ in range(2)]
    assert results[0]["total_cost_usd"] == results[1]["total_cost_usd"] > 0
    assert results[0]["usage"]["input_tokens"] == 5
    dear = ask("[[usage input=100000 output=1000]]")[-1]
    assert (dear["usage"]["input_tokens"], dear["usage"]["output_tokens"]) == (100_000, 1_000)
    assert dear["total_cost_usd"] > 100 * results[0]["total_cost_usd"]


@pytest.mark.parametrize(
    ("trouble", "outcomes"),
    [
        ("[[status 529 times=2]]", ["refused", "refused", "answered"]),
        ("[[status 429 retry-after=1 times=1]]", ["refused", "answered"]),
        ("[[status 500 times=1]]", ["refused", "answered"]),
        ("[[drop times=1]]", ["dropped", "answered"]),
        ("[[malformed times=1]]", ["malformed", "answered"]),
        ("[[stop max_tokens times=1]]", ["answered", "answered"]),
    ],
)
def test_trouble_that_passes(ask: Ask, endpoint: LoopbackEndpoint, trouble: str, outcomes: list[str]) -> None:
    """The CLI asks again, and gets its answer."""
    prompt = once(f"{trouble} [[reply after all]]")
    result = ask(prompt)[-1]
    assert (result["is_error"], result["result"]) == (False, "after all")
    asked = endpoint.requests(prompt)
    assert [each["outcome"] for each in asked] == outcomes
    if "retry-after" in trouble:
        assert asked[1]["began"] - asked[0]["ended"] >= 0.9


@pytest.mark.parametrize(("status", "requests"), [(401, 1), (529, 1)])
def test_trouble_that_stays(ask: Ask, endpoint: LoopbackEndpoint, status: int, requests: int) -> None:
    """The CLI says which status it got; one of the key is not asked again."""
    prompt = once(f"[[status {status}]]")
    environment = {"CLAUDE_CODE_MAX_RETRIES": "0"} if status == 529 else {}
    result = ask(prompt, **environment)[-1]
    assert (result["is_error"], result["api_error_status"]) == (True, status)
    assert len(endpoint.requests(prompt)) == requests


def test_a_refusal(ask: Ask) -> None:
    """The model's refusal is what the CLI reports."""
    result = ask("[[stop refusal]]")[-1]
    assert (result["is_error"], result["stop_reason"]) == (True, "refusal")


def test_structured_output(ask: Ask) -> None:
    """JSON goes through the CLI's own check; what does not pass it is sent back, and the steps go on."""
    result = ask('[[json {"n": "five"}]] [[json {"n": 5}]]', "--json-schema", SCHEMA)[-1]
    assert (result["is_error"], result["structured_output"]) == (False, {"n": 5})


def test_the_cli_asks_nothing_else(ask: Ask, endpoint: LoopbackEndpoint) -> None:
    """Every request so far was one that the endpoint knows."""
    ask("[[reply the last]]")
    assert {(each["method"], each["path"]) for each in endpoint.requests()} == {("POST", "/v1/messages")}
