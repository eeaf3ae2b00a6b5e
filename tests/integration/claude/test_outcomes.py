"""Each class of outcome, through the real CLI and the loopback endpoint: the table of docs/reference/claude_exec.md."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from eldermesh.contract.claude_output import RunOutcome
from services.claude_exec.cli.command import BUNDLED_CLI
from services.claude_exec.output_schema.judge import for_cli
from tests.integration.claude.playing import Claude
from tests.unit.claude.test_output_schema import ACCEPTED, REFUSED

_SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
_SIX_DOLLARS = "[[usage input=1000000 output=100000]]"


async def test_ok(claude: Claude) -> None:
    """The text, what it cost, and the tokens."""
    outcome = await claude.run("[[reply hello]] [[usage input=1000 output=10]]")
    assert (outcome.outcome, outcome.output, outcome.error_type) == ("ok", "hello", None)
    assert (outcome.attempts, outcome.turns, outcome.exit_status) == (1, 1, 0)
    assert outcome.cost_micros is not None
    assert outcome.cost_micros > 0
    assert outcome.usage is not None
    assert (outcome.usage["input_tokens"], outcome.usage["output_tokens"]) == (1000, 10)
    assert outcome.session_id is not None
    assert outcome.model is not None


async def test_ok_with_a_schema(claude: Claude) -> None:
    """The output is the object."""
    outcome = await claude.run('[[json {"n": 3}]]', options={"output_schema": _SCHEMA})
    assert (outcome.outcome, outcome.output) == ("ok", {"n": 3})


async def test_a_prompt_is_taken_as_it_is(claude: Claude) -> None:
    """No command and no reference to a file is read in it."""
    for prompt in ("/compact", "@/etc/hostname says?", "!ls", "-p", "# x"):
        outcome = await claude.run(prompt)
        assert outcome.outcome == "ok"
        assert f"{len(prompt)} characters: {prompt}" in str(outcome.output)


@pytest.mark.parametrize(
    ("prompt", "options", "outcome", "error_type", "message"),
    [
        ("[[stop refusal]]", {}, "refused", "refused", "safeguards"),
        ('[[json {"n": "x"}]]', {"output_schema": _SCHEMA}, "invalid", "invalid_output", "no object of the schema"),
        ("[[reply text]]", {"output_schema": _SCHEMA}, "invalid", "invalid_output", "no object of the schema"),
        ("[[status 400]]", {}, "invalid", "exception", "400"),
        (_SIX_DOLLARS, {"max_cost_usd": 0.1}, "budget", "budget", "budget"),
        ('[[tool Bash {"command": "true"}]]', {"allowed_tools": ["Bash"], "max_turns": 1}, "turns", "turns", "turns"),
        ("[[status 429 retry-after=1]]", {}, "rate_limited", "rate_limited", "429"),
        ("[[status 429 retry-after=7200]]", {}, "rate_limited", "rate_limited", "429"),
        ("[[status 429]]", {}, "rate_limited", "rate_limited", "429"),
        ("[[status 529]]", {}, "overloaded", "overloaded", "529"),
        ("[[status 500]]", {}, "overloaded", "overloaded", "500"),
        ("[[drop]]", {}, "overloaded", "overloaded", "API Error"),
        ("[[malformed]]", {}, "overloaded", "overloaded", "API Error"),
        ("[[status 401]]", {}, "auth", "auth", "API key"),
        ("[[status 403]]", {}, "auth", "auth", "403"),
    ],
)
async def test_failures(
    claude: Claude, prompt: str, options: dict[str, Any], outcome: RunOutcome, error_type: str, message: str
) -> None:
    """The class, the contract's word, and a message for people; one CLI was started, whatever it did."""
    found = await claude.run(prompt, options=options)
    assert (found.outcome, found.error_type) == (outcome, error_type)
    assert message in found.message
    assert found.attempts == 1
    assert found.output is None


async def test_what_the_api_refuses_for_the_moment_is_asked_again(claude: Claude) -> None:
    """By the CLI itself, within its bound; the outcome is that of the last answer."""
    outcome = await claude.run("[[status 529 times=1]] [[reply at last]]")
    assert (outcome.outcome, outcome.output) == ("ok", "at last")


async def test_a_budget_that_is_exceeded_is_paid(claude: Claude) -> None:
    """What a failure cost is part of its outcome."""
    outcome = await claude.run(_SIX_DOLLARS, options={"max_cost_usd": 0.1})
    assert (outcome.cost_micros or 0) > 100_000


async def test_exit_0_with_is_error(claude: Claude) -> None:
    """The CLI ends with status 0 and says `success`; its error flag makes the failure."""
    outcome = await claude.run("[[status 400]]", claude_cli=claude.wrapper('"$CLI" "$@"; exit 0'))
    assert (outcome.exit_status, outcome.outcome, outcome.error_type) == (0, "invalid", "exception")


async def test_idle(claude: Claude) -> None:
    """The stream stalls half way: the CLI says nothing any more, and is stopped."""
    outcome = await claude.run("[[stall]]", claude_idle_seconds=1.5)
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("idle", "idle", 1)
    assert "nothing for 1.5 s" in outcome.message


async def test_idle_while_it_waits_for_the_api(claude: Claude) -> None:
    """Silence between two requests is the API's limit, not a CLI that is stuck."""
    outcome = await claude.run("[[status 429 retry-after=50]]", claude_idle_seconds=8)
    assert (outcome.outcome, outcome.api_status) == ("rate_limited", 429)


async def test_timeout(claude: Claude) -> None:
    """The wall clock ends a CLI that is not silent, too: it has a tool run."""
    prompt = '[[tool Bash {"command": "sleep 601"}]]'
    outcome = await claude.run(prompt, options={"allowed_tools": ["Bash"], "timeout_seconds": 2})
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("timeout", "timeout", 1)
    assert outcome.duration_seconds < claude.settings().claude_idle_seconds


async def test_the_shorter_time_counts(claude: Claude) -> None:
    """That of the job's items, of the options, or of the settings."""
    outcome = await claude.run("[[delay 60]]", options={"timeout_seconds": 50}, timeout_seconds=1.5)
    assert outcome.outcome == "timeout"
    assert "1.5 s" in outcome.message


async def test_crashed_at_the_start(claude: Claude) -> None:
    """A CLI that never says a word is started again, then given up."""
    outcome = await claude.run("hello", claude_cli=claude.wrapper("exec sleep 602"), claude_start_seconds=0.5)
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("crashed", "crashed", 2)
    assert "tried 2 times" in outcome.message


async def test_no_program(claude: Claude) -> None:
    """A CLI that is not there is this machine's fault: tried once."""
    outcome = await claude.run("hello", claude_cli="/nowhere/claude")
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("crashed", "internal", 1)
    assert "/nowhere/claude" in outcome.message


async def test_no_working_directory(claude: Claude) -> None:
    """The same with a working directory that is not there."""
    outcome = await claude.run("hello", options={"cwd": str(claude.code / "missing")})
    assert (outcome.outcome, outcome.error_type) == ("crashed", "internal")
    assert "missing" in outcome.message


@pytest.mark.parametrize("name", ["a" * 300, "circle"])
async def test_a_working_directory_that_cannot_exist(claude: Claude, name: str) -> None:
    """A name that is too long, a link that leads to itself: told at once with the reason, and not tried again."""
    execution = claude.execution("hello", options={"cwd": str(claude.code / name / "below")})
    (claude.code / "circle").symlink_to("circle")  # after the options were judged
    outcome = await execution.run()
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("crashed", "internal", 1)
    assert "too long" in outcome.message or "Too many levels" in outcome.message


async def test_a_schema_that_names_another_draft(claude: Claude) -> None:
    """Where draft 7 says the same, the CLI takes it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | _SCHEMA
    outcome = await claude.run('[[json {"n": 3}]]', options={"output_schema": schema})
    assert (outcome.outcome, outcome.output) == ("ok", {"n": 3})


async def test_a_cli_that_refuses_the_schema(claude: Claude) -> None:
    """What our own judgement let pass, another CLI may refuse: the request is invalid, and no second CLI is started."""
    script = "echo 'Error: --json-schema is not a valid JSON Schema: no' >&2; exit 1"
    outcome = await claude.run("hi", options={"output_schema": _SCHEMA}, claude_cli=claude.wrapper(script))
    assert (outcome.outcome, outcome.error_type, outcome.attempts) == ("invalid", "exception", 1)


async def test_a_pattern_that_never_comes_to_an_end(claude: Claude) -> None:
    """It runs in the CLI alone, which gives it up or is killed: the time of its own prompt is all that it costs."""
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a|a)*$"}}}
    prompt = '[[json {"a": "%s!"}]]' % ("a" * 60)
    outcome = await claude.run(prompt, options={"output_schema": schema, "timeout_seconds": 10})
    assert (outcome.outcome in ("invalid", "timeout", "idle"), outcome.attempts) == (True, 1)
    assert outcome.duration_seconds < claude.settings().claude_idle_seconds


async def test_the_cli_judges_schemas_as_we_do(claude: Claude) -> None:
    """What is accepted here starts a CLI; what is refused for its keywords, a CLI would refuse, too."""
    gate = asyncio.Semaphore(2)

    async def exit_of(schema: dict[str, Any]) -> str:
        async with gate:
            process = await asyncio.create_subprocess_exec(
                *(str(BUNDLED_CLI), "--print", "--verbose", "--input-format", "stream-json"),
                *("--output-format", "stream-json", "--no-session-persistence", "--setting-sources=", "--tools", ""),
                *("--json-schema", json.dumps(for_cli(schema))),
                env={"HOME": str(claude.code), "ANTHROPIC_API_KEY": "none", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"},
                cwd=claude.code,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await process.communicate()
            return said.decode()

    said = await asyncio.gather(*(exit_of(schema) for schema in ACCEPTED.values()))
    assert [name for name, each in zip(ACCEPTED, said, strict=True) if "valid JSON Schema" in each] == []
    names = [
        "an unknown keyword",
        "a keyword of 2019",
        "a keyword of 2020",
        "a remote reference",
        "a pattern of Python",
    ]
    said = await asyncio.gather(*(exit_of(REFUSED[name][0]) for name in names))
    assert [name for name, each in zip(names, said, strict=True) if "valid JSON Schema" not in each] == []


async def test_what_a_dying_cli_says_is_in_the_message(claude: Claude) -> None:
    """The end of its standard error, bounded."""
    script = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo 'out of luck' >&2; exit 3"
    outcome = await claude.run("hello", claude_cli=claude.wrapper(script))
    assert (outcome.outcome, outcome.exit_status) == ("crashed", 3)
    assert "exit status 3" in outcome.message
    assert "out of luck" in outcome.message
    assert len(outcome.message) < 1000


async def test_auth_without_endpoint_or_key(claude: Claude) -> None:
    """Nothing is started, and nobody is asked."""
    outcome = await claude.run("hello", anthropic_base_url=None)
    assert (outcome.outcome, outcome.exit_status) == ("auth", None)
    assert "MESH_ANTHROPIC_API_KEY" in outcome.message


async def test_too_much_output(claude: Claude) -> None:
    """More than the limit ends the run; one long line is enough."""
    outcome = await claude.run("[[bytes 3000000]]", claude_max_output_bytes=1_000_000)
    assert (outcome.outcome, outcome.error_type) == ("invalid", "result_too_large")


async def test_a_line_of_5_mb(claude: Claude) -> None:
    """Longer than any default of a reader."""
    outcome = await claude.run("[[bytes 5000000]]")
    assert outcome.outcome == "ok"
    assert len(str(outcome.output)) == 5_000_000


async def test_what_is_no_message_is_skipped(claude: Claude) -> None:
    """A warning that goes to the wrong stream, a broken line, an object of no type the SDK knows."""
    script = "echo 'warning: x'; echo '{broken'; echo '[1]'; echo '{\"type\":\"new\"}'; exec \"$CLI\" \"$@\""
    outcome = await claude.run("[[reply fine]]", claude_cli=claude.wrapper(script))
    assert (outcome.outcome, outcome.output) == ("ok", "fine")


async def test_twenty_at_once(claude: Claude) -> None:
    """Parallel runs share nothing: each has its own configuration, reply and end."""
    prompts = [f"[[reply number {number}]]" for number in range(20)]
    outcomes = await asyncio.gather(*(claude.run(prompt) for prompt in prompts))
    assert [(each.outcome, each.output, each.attempts) for each in outcomes] == [
        ("ok", f"number {number}", 1) for number in range(20)
    ]


async def test_messages_are_handed_out_as_they_come(claude: Claude) -> None:
    """From the start to the result, pieces of the text between."""
    kinds: list[str] = []

    async def note(message: Mapping[str, Any]) -> None:
        kinds.append(str(message["type"]))

    await claude.run("[[reply some words]]", on_message=note)
    assert kinds[-1] == "result"
    assert "stream_event" in kinds


async def test_a_listener_that_fails_ends_the_run(claude: Claude) -> None:
    """Its error is the caller's to see."""

    async def fail(_: Mapping[str, Any]) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await claude.run("[[reply some words]]", on_message=fail)


async def test_nothing_of_the_workers_environment_reaches_a_tool(
    claude: Claude, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret is planted in this process; the CLI's own Bash prints all it has, and its file tools look there."""
    monkeypatch.setenv("PLANTED_SECRET", "do-not-tell")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "do-not-tell")
    said: list[str] = []

    async def note(message: Mapping[str, Any]) -> None:
        if message["type"] == "user":
            said.append(str(message))

    uses: list[tuple[str, dict[str, str]]] = [("Bash", {"command": "env; cat /proc/$PPID/environ"})]
    for path in (f"/proc/{os.getpid()}/environ", "/proc/self/environ", f"/proc/{os.getpid()}"):
        uses.append(("Read", {"file_path": path}))
        uses.append(("Grep", {"pattern": "do-not-tell|ANTHROPIC", "path": path, "output_mode": "content"}))
    prompt = "".join(f"[[tool {name} {json.dumps(arguments)}]]" for name, arguments in uses) + "[[reply done]]"
    outcome = await claude.run(prompt, options={"allowed_tools": ["Bash", "Read", "Grep"]}, on_message=note)
    assert outcome.output == "done"
    assert len(said) == len(uses)
    assert "PATH=" in "".join(said)
    assert "PLANTED_SECRET" not in "".join(said)
    assert "do-not-tell" not in "".join(said)


async def test_only_allowed_tools_exist(claude: Claude) -> None:
    """A tool outside the allow-list is not there, and a use that no rule covers is denied."""
    target = claude.code / "written"
    prompt = f'[[tool Bash {{"command": "touch {target}"}}]] [[reply done]]'
    for tools in ([], ["Read"], ["Bash(ls:*)"]):
        outcome = await claude.run(prompt, options={"allowed_tools": tools, "cwd": str(claude.code)})
        assert outcome.output == "done"
        assert not target.exists()
    outcome = await claude.run(prompt, options={"allowed_tools": ["Bash(touch:*)"], "cwd": str(claude.code)})
    assert (outcome.output, target.exists()) == ("done", True)


async def test_hidden_paths_are_not_read(claude: Claude, tmp_path: Path) -> None:
    """Though all tools are allowed. The same uses read what is not hidden, so it is the rule that denies each."""
    secret = tmp_path / "secrets" / "login"
    secret.parent.mkdir()
    secret.write_text("only the mesh may read", encoding="utf-8")
    link, linked = claude.code / "link", claude.code / "linked"
    link.symlink_to(secret)
    linked.symlink_to(secret.parent)
    uses: list[tuple[str, dict[str, str]]] = [
        *(("Read", {"file_path": f"{path}"}) for path in (secret, link, linked / "login", f"/proc/self/root{secret}")),
        *(("Grep", {"pattern": "mesh", "path": f"{path}", "output_mode": "content"}) for path in (linked, tmp_path)),
        ("Glob", {"pattern": "*", "path": f"{secret.parent}"}),
        *(("Bash", {"command": f"{command} {secret}"}) for command in ("cat", "cat <", "head -n 1")),
    ]
    prompt = "".join(f"[[tool {name} {json.dumps(arguments)}]]" for name, arguments in uses) + "[[reply done]]"
    options = {"allowed_tools": ["Read", "Grep", "Glob", "Bash"], "cwd": str(claude.code)}

    async def said(*hidden: Path) -> list[bool]:
        """For each use, whether it read the file, or found its name."""
        answers: list[str] = []

        async def note(message: Mapping[str, Any]) -> None:
            if message["type"] == "user":
                answers.append(str(message["message"]["content"][0]["content"]))

        outcome = await claude.run(prompt, options=options, on_message=note, claude_hidden_paths=hidden)
        assert outcome.output == "done"
        return ["mesh may read" in answer or answer.endswith("/login") for answer in answers]

    assert await said() == [True] * len(uses)
    assert await said(secret.parent) == [False] * len(uses)
    assert await said(secret) == [False] * len(uses)
    assert await said(linked) == [False] * len(uses)


async def test_a_projects_settings_are_not_read(claude: Claude) -> None:
    """Hooks in a working directory would be commands that nobody allowed."""
    (claude.code / ".claude").mkdir()
    hook = {"hooks": [{"type": "command", "command": f"touch {claude.code}/hooked"}]}
    settings = f'{{"hooks": {{"SessionStart": [{hook}], "Stop": [{hook}]}}}}'.replace("'", '"')
    (claude.code / ".claude" / "settings.json").write_text(settings, encoding="utf-8")
    outcome = await claude.run("hello", options={"cwd": str(claude.code)})
    assert outcome.outcome == "ok"
    assert not (claude.code / "hooked").exists()
