"""What a request to the Messages API asks: its prompt, and the turn of its conversation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from services.claude_exec.loopback.api_error import InvalidRequestError

# User messages of the CLI itself, which asks for a better answer.
_OF_THE_CLI = (
    "Output token limit hit.",
    "Your response above was stopped by a safety classifier",
    "[structured-output-enforce]",
)
# The CLI adds these blocks to the user's message.
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request, read.

    Attributes:
        model: the model's name, as the caller gave it.
        streamed: whether the answer is to be server-sent events.
        prompt: the text of the last user message that is not a tool's result and not the CLI's own.
        turn: how many tools have been called since the prompt.
        tool_result: the text of the last tool result since then.
        tools: names of the offered tools.
        messages: their number.
        characters: length of all messages' text.
    """

    model: str
    streamed: bool
    prompt: str
    turn: int
    tool_result: str | None
    tools: frozenset[str]
    messages: int
    characters: int


def read_conversation(body: bytes) -> Conversation:
    """Read a request's body.

    Raises:
        InvalidRequestError: it is not a request of the Messages API.
    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("The request body is not valid JSON.") from error
    if not isinstance(request, dict):
        raise InvalidRequestError("The request body is not an object.")
    model, messages = request.get("model"), request.get("messages")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("model: Field required")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise InvalidRequestError("messages: Field required, a list of at least one message")
    place, prompt = _prompt(messages)
    since = [block for message in messages[place:] for block in _blocks(message)]
    results = [block for block in since if block.get("type") == "tool_result"]
    tools = request.get("tools") or ()
    return Conversation(
        model=model,
        streamed=request.get("stream") is True,
        prompt=prompt,
        turn=sum(block.get("type") == "tool_use" for block in since),
        tool_result=_text(results[-1].get("content")) if results else None,
        tools=frozenset(str(tool.get("name")) for tool in tools if isinstance(tool, dict)),
        messages=len(messages),
        characters=sum(len(_text(message.get("content"))) for message in messages),
    )


def _prompt(messages: list[dict[str, Any]]) -> tuple[int, str]:
    for place in range(len(messages) - 1, -1, -1):
        message = messages[place]
        if message.get("role") != "user" or any(block.get("type") == "tool_result" for block in _blocks(message)):
            continue
        prompt = _REMINDER.sub("", _text(message.get("content"))).strip()
        if prompt and not prompt.startswith(_OF_THE_CLI):
            return place, prompt
    return 0, ""


def _blocks(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (block.get("text") for block in content if isinstance(block, dict))
    return "\n".join(text for text in texts if isinstance(text, str))
