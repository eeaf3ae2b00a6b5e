"""The loopback endpoint over HTTP: what each marker does on the wire."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.loopback import LoopbackEndpoint, shared_loopback
from tests.waiting import wait_until

HEADERS = {"x-api-key": "dummy"}
SCRIPT = "scripted one: '[[reply from the file]]'\n"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackEndpoint]:
    """One for all tests here."""
    directory = tmp_path_factory.mktemp("loopback")
    (directory / "script.yaml").write_text(SCRIPT, "utf-8")
    with shared_loopback(directory, "--script", str(directory / "script.yaml")) as running:
        yield running


@pytest.fixture
async def api(nothing_left: None, endpoint: LoopbackEndpoint) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    async with httpx.AsyncClient(base_url=endpoint.url, headers=HEADERS, timeout=60, trust_env=False) as client:
        yield client


def asking(prompt: str, *turns: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A request's body."""
    return {"model": "m-1", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}, *turns], **more}


def once(text: str) -> str:
    """A prompt that no other test has asked."""
    return f"{uuid4()} {text}"


async def events(api: httpx.AsyncClient, prompt: str) -> list[dict[str, Any]]:
    """The events of a streamed answer, each of which says its type twice."""
    answer = await api.post("/v1/messages", json=asking(prompt, stream=True))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for part in answer.text.removesuffix("\n\n").split("\n\n"):
        kind, _, data = part.partition("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def said(streamed: list[dict[str, Any]]) -> str:
    """The text of all deltas."""
    deltas = [event["delta"] for event in streamed if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", delta.get("partial_json", "")) for delta in deltas)


async def text(api: httpx.AsyncClient, body: dict[str, Any]) -> str:
    """The only block of an answer that is not streamed."""
    answer = await api.post("/v1/messages", json=body)
    assert answer.status_code == 200, answer.text
    (block,) = answer.json()["content"]
    return str(block["text"])


async def take(got: bytearray, api: httpx.AsyncClient, body: dict[str, Any], *, patience: float = 20.0) -> None:
    """Put into `got` what comes, as it comes."""
    async with api.stream("POST", "/v1/messages", json=body, timeout=patience) as answer:
        assert answer.status_code == 200
        async for part in answer.aiter_raw():
            got += part


async def test_a_whole_answer(api: httpx.AsyncClient) -> None:
    """Not streamed: a message with its text, reason and usage; the same prompt gets the same to the last byte."""
    answer = await api.post("/v1/messages", json=asking("[[reply all good]]"))
    assert answer.status_code == 200
    assert answer.headers["request-id"].startswith("req_")
    message = answer.json()
    assert message["type"] == "message"
    assert message["role"] == "assistant"
    assert message["model"] == "m-1"
    assert message["content"] == [{"type": "text", "text": "all good"}]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == 5
    assert message["usage"]["output_tokens"] == 2
    assert (await api.post("/v1/messages", json=asking("[[reply all good]]"))).content == answer.content


async def test_a_streamed_answer(api: httpx.AsyncClient) -> None:
    """Streamed: the API's events in their order, the same text and figures."""
    streamed = await events(api, "[[reply all good]]")
    kinds = [event["type"] for event in streamed if event["type"] != "content_block_delta"]
    assert kinds == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert said(streamed) == "all good"
    assert streamed[-2]["delta"]["stop_reason"] == "end_turn"
    assert streamed[-2]["usage"]["output_tokens"] == 2


async def test_without_markers(api: httpx.AsyncClient) -> None:
    """The reply is derived from the prompt, and another for another prompt."""
    reply = await text(api, asking("what is this?"))
    assert reply.endswith("what is this?")
    assert reply == await text(api, asking("what is this?"))
    assert reply != await text(api, asking("what is that?"))


async def test_the_script_file(api: httpx.AsyncClient) -> None:
    """A prompt that holds the file's text; its own markers come first."""
    assert await text(api, asking("a scripted one")) == "from the file"
    assert await text(api, asking("a scripted one [[reply mine]]")) == "mine"


async def test_json(api: httpx.AsyncClient) -> None:
    """As text; through the tool for structured output where that is offered."""
    prompt = '[[json {"n": [1, 2]}]]'
    assert await text(api, asking(prompt)) == '{"n":[1,2]}'
    answer = await api.post("/v1/messages", json=asking(prompt, tools=[{"name": "StructuredOutput"}]))
    (block,) = answer.json()["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "StructuredOutput", {"n": [1, 2]})
    assert answer.json()["stop_reason"] == "tool_use"


async def test_bytes(api: httpx.AsyncClient) -> None:
    """So many characters in one line, streamed in pieces."""
    streamed = await events(api, "[[bytes 300000]]")
    assert said(streamed) == "x" * 300_000
    assert len(streamed) > 10


async def test_a_tool_and_what_comes_after(api: httpx.AsyncClient) -> None:
    """Its call ends the answer; the request with its result is answered by the steps behind it, then by the result."""
    prompt = once('[[reply first]] [[tool Bash {"command": "ls"}]] [[reply second]] [[tool Read]]')
    answer = (await api.post("/v1/messages", json=asking(prompt))).json()
    spoken, call = answer["content"]
    assert spoken["text"] == "first"
    assert (call["name"], call["input"], answer["stop_reason"]) == ("Bash", {"command": "ls"}, "tool_use")

    def fed(call_id: str, result: str) -> list[dict[str, Any]]:
        block = {"type": "tool_result", "tool_use_id": call_id, "content": result}
        called = {"type": "tool_use", "id": call_id, "name": "any", "input": {}}
        return [{"role": "assistant", "content": [called]}, {"role": "user", "content": [block]}]

    turns = fed(call["id"], "a.txt")
    second = (await api.post("/v1/messages", json=asking(prompt, *turns))).json()
    assert second["content"][0]["text"] == "second"
    assert second["content"][1]["name"] == "Read"
    assert second["content"][1]["id"] != call["id"]
    turns += fed(second["content"][1]["id"], "what it read")
    assert await text(api, asking(prompt, *turns)) == "what it read"


async def test_a_streamed_tool(api: httpx.AsyncClient) -> None:
    """Its input comes as pieces of JSON."""
    streamed = await events(api, '[[tool Bash {"command": "echo [[ ]]"}]]')
    (start,) = [event["content_block"] for event in streamed if event["type"] == "content_block_start"]
    assert (start["name"], start["input"]) == ("Bash", {})
    assert json.loads(said(streamed)) == {"command": "echo [[ ]]"}


async def test_delay(api: httpx.AsyncClient, endpoint: LoopbackEndpoint) -> None:
    """The first byte waits; with `times` only as often."""
    prompt = once("[[delay 0.4 times=1]]")
    for _ in range(2):
        await text(api, asking(prompt))
    long, short = [each["ended"] - each["began"] for each in endpoint.requests(prompt)]
    assert long >= 0.4 > short


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
async def test_status(api: httpx.AsyncClient, status: int, kind: str) -> None:
    """The API's error of that status, whether or not an answer was to be streamed."""
    for streamed in (True, False):
        answer = await api.post("/v1/messages", json=asking(f"[[status {status}]]", stream=streamed))
        assert answer.status_code == status
        body = answer.json()
        assert (body["type"], body["error"]["type"]) == ("error", kind)
        assert body["request_id"] == answer.headers["request-id"]
        assert "retry-after" not in answer.headers
        assert answer.headers["x-should-retry"] == ("true" if status in {429, 500, 529} else "false")


async def test_status_so_many_times(api: httpx.AsyncClient) -> None:
    """Errors after each other, each so often, then the answer; prompts are counted apart."""
    marked = "[[status 529 times=2]] [[status 429 retry-after=3 times=1]] [[reply at last]]"
    for prompt in (once(marked), once(marked)):
        answers = [await api.post("/v1/messages", json=asking(prompt)) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [529, 529, 429, 200, 200]
        assert answers[2].headers["retry-after"] == "3"


async def test_status_with_a_message(api: httpx.AsyncClient) -> None:
    """The message that people are to see."""
    answer = await api.post("/v1/messages", json=asking('[[status 400 message="prompt is too long"]]'))
    assert answer.json()["error"]["message"] == "prompt is too long"


@pytest.mark.parametrize("streamed", [True, False])
async def test_drop(api: httpx.AsyncClient, *, streamed: bool) -> None:
    """The connection is cut when half has come."""
    got = bytearray()
    with pytest.raises(httpx.TransportError):
        await take(got, api, asking("[[drop]] [[bytes 500]]", stream=streamed))
    assert b"xxx" in got
    assert b"message_stop" not in got


@pytest.mark.parametrize("streamed", [True, False])
async def test_stall(api: httpx.AsyncClient, endpoint: LoopbackEndpoint, *, streamed: bool) -> None:
    """Half comes, then nothing; the endpoint lets go when the caller does."""
    prompt, got = once("[[stall]] [[bytes 500]]"), bytearray()
    with pytest.raises(httpx.ReadTimeout):
        await take(got, api, asking(prompt, stream=streamed), patience=0.5)
    assert b"xxx" in got
    assert b"message_stop" not in got
    await wait_until(
        lambda: [each["outcome"] for each in endpoint.requests(prompt)] == ["gone"], description="it has let go"
    )


@pytest.mark.parametrize("streamed", [True, False])
async def test_malformed(api: httpx.AsyncClient, *, streamed: bool) -> None:
    """An answer that is complete for HTTP and broken for its reader."""
    answer = await api.post("/v1/messages", json=asking("[[malformed]]", stream=streamed))
    assert answer.status_code == 200
    last = answer.text.rstrip().splitlines()[-1].removeprefix("data: ")
    with pytest.raises(json.JSONDecodeError):
        json.loads(last)


async def test_usage_and_stop(api: httpx.AsyncClient) -> None:
    """The figures and the reason that are asked for."""
    prompt = "[[usage input=7 output=8 cache-read=9 cache-write=10]] [[stop max_tokens]]"
    message = (await api.post("/v1/messages", json=asking(prompt))).json()
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"] == {
        "input_tokens": 7,
        "output_tokens": 8,
        "cache_read_input_tokens": 9,
        "cache_creation_input_tokens": 10,
        "service_tier": "standard",
    }
    streamed = await events(api, prompt)
    assert streamed[0]["message"]["usage"]["input_tokens"] == 7
    assert streamed[-2]["usage"]["output_tokens"] == 8


async def test_a_wrong_marker(api: httpx.AsyncClient) -> None:
    """400, with what is wrong with it."""
    answer = await api.post("/v1/messages", json=asking("[[status 200]]"))
    assert answer.status_code == 400
    assert "[[status …]]: the status is not" in answer.json()["error"]["message"]


async def test_count_tokens(api: httpx.AsyncClient) -> None:
    """A token each four characters of the messages; no marker is obeyed."""
    answer = await api.post("/v1/messages/count_tokens", json=asking("[[status 529]]"))
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 4})


async def test_requests_that_are_none(api: httpx.AsyncClient, endpoint: LoopbackEndpoint) -> None:
    """No key, no JSON, too much, an unknown path: errors of the API, and the endpoint goes on."""
    async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as keyless:
        assert (await keyless.post("/v1/messages", json=asking("hello"))).status_code == 401
    assert (await api.post("/v1/messages", content=b"{")).status_code == 400
    assert (await api.post("/v1/messages", content=b" " * (33 * 1024 * 1024))).status_code == 413
    unknown = await api.get("/v1/models")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    assert await text(api, asking("[[reply on it goes]]")) == "on it goes"


async def test_another_host_name_is_refused(api: httpx.AsyncClient) -> None:
    """A page in a browser cannot make its own name mean this machine, and read here."""
    assert (await api.get("/_loopback/requests", headers={"host": "example.org"})).status_code == 400


async def test_inside_a_network(tmp_path: Path) -> None:
    """Under its name there it answers on every address, and under no other."""
    inside = LoopbackEndpoint(tmp_path, "--inside", "claude-endpoint")
    inside.process.start()
    try:
        await inside.ready()
        address = inside.url.replace("claude-endpoint", "127.0.0.2")
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            named = await client.get(f"{address}/healthz", headers={"host": "claude-endpoint"})
            other = await client.get(f"{address}/healthz", headers={"host": "example.org"})
    finally:
        inside.process.kill()
    assert (named.status_code, other.status_code) == (200, 400)


async def test_health_and_root(api: httpx.AsyncClient) -> None:
    """What probes ask."""
    assert (await api.get("/healthz")).json()["ok"] is True
    assert (await api.head("/")).status_code == 200


async def test_what_was_asked(api: httpx.AsyncClient, endpoint: LoopbackEndpoint) -> None:
    """Requests are told with prompt, model, trace and times; of long prompts the beginning."""
    prompt = once("[[reply seen]]") + " long" * 2_000
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await api.post("/v1/messages", json=asking(prompt), headers={"traceparent": trace})
    (seen,) = endpoint.requests(prompt[:50])
    assert (seen["model"], seen["traceparent"], seen["turn"]) == ("m-1", trace, 0)
    assert (seen["status"], seen["outcome"]) == (200, "answered")
    assert seen["prompt"] == prompt[:4_000]
    assert seen["prompt_characters"] == len(prompt)
    assert 0 <= seen["ended"] - seen["began"] < 20


async def test_at_once(api: httpx.AsyncClient) -> None:
    """A caller that waits does not hold up another."""
    prompt = once("[[stall]]")
    async with api.stream("POST", "/v1/messages", json=asking(prompt, stream=True)) as stalled:
        assert stalled.status_code == 200
        assert await text(api, asking("[[reply meanwhile]]")) == "meanwhile"


async def test_stop(nothing_left: None, tmp_path: Path) -> None:
    """SIGTERM ends it at once and in order, with an answer that is stalled; its log holds no prompt."""
    endpoint = LoopbackEndpoint(tmp_path)
    endpoint.process.start()
    try:
        await endpoint.ready()
        async with httpx.AsyncClient(base_url=endpoint.url, headers=HEADERS, timeout=60, trust_env=False) as api:
            body, got = asking("[[stall]] very private", stream=True), bytearray()
            stalled = asyncio.create_task(take(got, api, body))
            await wait_until(lambda: got, description="half of the answer has come")
            assert endpoint.process.pid is not None
            os.kill(endpoint.process.pid, signal.SIGTERM)
            with pytest.raises(httpx.TransportError):
                await stalled
        await wait_until(lambda: endpoint.process.poll() is not None, description="it ends")
        assert endpoint.process.poll() == 0
        assert not endpoint.ready_file.exists()
        assert '"outcome":"stopped"' in endpoint.log()
        assert "private" not in endpoint.log()
        assert "error" not in endpoint.log()
    finally:
        endpoint.process.kill()


@pytest.mark.parametrize(
    "arguments",
    [("--host", "0.0.0.0"), ("--script", "/nowhere/script.yaml")],  # noqa: S104
    ids=["host", "script"],
)
async def test_it_does_not_start(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """At an address of the network, or with a script that is not there: status 1, and a line that says why."""
    await _refused(LoopbackEndpoint(tmp_path, *arguments), "loopback endpoint failed")


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """The same."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        await _refused(LoopbackEndpoint(tmp_path, "--port", str(taken.getsockname()[1])), "cannot listen")


async def _refused(endpoint: LoopbackEndpoint, reason: str) -> None:
    endpoint.process.start()
    try:
        await wait_until(lambda: endpoint.process.poll() is not None, description="it ends")
        assert endpoint.process.poll() == 1
        assert reason in endpoint.log()
        assert not endpoint.ready_file.exists()
    finally:
        endpoint.process.kill()
