import json
from typing import Any

import pytest

from services.claude_exec.loopback.api_error import InvalidRequestError
from services.claude_exec.loopback.conversation import Conversation, read_conversation


def read(*messages: tuple[str, Any], **more: Any) -> Conversation:
    """A conversation of such messages."""
    held = [{"role": role, "content": content} for role, content in messages]
    return read_conversation(json.dumps({"model": "m", "max_tokens": 1, "messages": held, **more}).encode())


def text(*texts: str) -> list[dict[str, str]]:
    """Blocks of text."""
    return [{"type": "text", "text": each} for each in texts]


CALL = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}


def result(said: str) -> list[dict[str, Any]]:
    """A block with a tool's result."""
    return [{"type": "tool_result", "tool_use_id": "t1", "content": said}]


def test_a_prompt_as_a_string() -> None:
    """The short form of a message."""
    read_one = read(("user", "hello"), stream=True, tools=[{"name": "Bash"}])
    assert (read_one.prompt, read_one.turn, read_one.tool_result) == ("hello", 0, None)
    assert read_one.streamed
    assert read_one.tools == {"Bash"}


def test_reminders_of_the_cli_are_no_prompt() -> None:
    """Neither as blocks of their own nor within a text; nor does a message of the system count."""
    blocks = text("<system-reminder>\n[[reply no]]\n</system-reminder>\n", "hello <system-reminder>x</system-reminder>")
    assert read(("user", blocks), ("system", text("environment"))).prompt == "hello"


def test_the_newest_prompt_counts() -> None:
    """And the tools that were called before it do not."""
    held = read(
        ("user", "one"), ("assistant", [CALL]), ("user", result("r")), ("assistant", text("done")), ("user", "two")
    )
    assert (held.prompt, held.turn, held.tool_result) == ("two", 0, None)


def test_results_bring_the_conversation_on() -> None:
    """A message with a result is no prompt; the turn is the number of calls, and the newest result is known."""
    calls = [("assistant", [*text("I will"), CALL]), ("user", [*result("first"), *text("reminder")])]
    once = read(("user", "go"), *calls)
    assert (once.prompt, once.turn, once.tool_result) == ("go", 1, "first")
    twice = read(
        ("user", "go"), *calls, ("assistant", [CALL]), ("user", [{**result("")[0], "content": text("second")}])
    )
    assert (twice.prompt, twice.turn, twice.tool_result) == ("go", 2, "second")


@pytest.mark.parametrize(
    "said",
    [
        "Output token limit hit. Resume directly",
        "Your response above was stopped by a safety classifier",
        "[structured-output-enforce] You MUST call",
    ],
)
def test_the_cli_speaks_as_the_person(said: str) -> None:
    """What the CLI says to go on with an unsatisfying answer leaves the prompt in force."""
    assert read(("user", "go"), ("assistant", text("half")), ("user", said)).prompt == "go"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"model": "m"}',
        b'{"model": "m", "messages": []}',
        b'{"model": "m", "messages": ["hello"]}',
        b'{"model": 5, "messages": [{"role": "user", "content": "x"}]}',
    ],
)
def test_other_bodies_are_invalid(body: bytes) -> None:
    """What is no request of the Messages API is refused."""
    with pytest.raises(InvalidRequestError):
        read_conversation(body)


@pytest.mark.parametrize("content", [None, 5, [5], [{"type": "text"}], [{"type": "text", "text": 5}], [{"type": "x"}]])
def test_content_without_text(content: Any) -> None:
    """Images and the like are no prompt; nothing breaks."""
    assert read(("user", content)).prompt == ""
