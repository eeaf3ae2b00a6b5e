"""What a typed command line makes of a submit, before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eldermesh_cli.program.errors import CliError
from eldermesh_cli.submit.job_document import TypedJob, build_submit
from tests.unit.cli.command_line import CommandLine


@pytest.mark.parametrize(
    ("typed", "item"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ('"1"', "1"),
        ("[3, 4]", [3, 4]),
        ('{"a": {"b": []}}', {"a": {"b": []}}),
        ("Say hi", "Say hi"),
        ("{broken", "{broken"),
        ("", ""),
        ("01", "01"),
        ("grüße", "grüße"),
        ("9" * 5000 + " times", "9" * 5000 + " times"),
    ],
)
def test_an_item_is_json_or_text(typed: str, item: Any) -> None:
    """What is JSON is taken as JSON, anything else as a string."""
    assert build_submit(TypedJob(workload="python", inline=[typed])).items == [item]


@pytest.mark.parametrize(
    "typed",
    [
        "NaN",
        "1e400",
        "18446744073709551616",
        '{"a": 1, "a": 2}',
        "[" * 65 + "]" * 65,
        "9" * 5000,
        f"[{'-' + '9' * 5000}]",
        "[" * 50_000,
    ],
    ids=lambda typed: typed[:20],
)
def test_json_that_readers_differ_on_is_refused(typed: str) -> None:
    """JSON that is no I-JSON is neither sent nor quietly taken as text."""
    with pytest.raises(CliError, match="I-JSON") as raised:
        build_submit(TypedJob(workload="python", inline=[typed]))

    assert raised.value.status == 2
    assert "--text" in (raised.value.hint or "")
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "python", "1", "--function", "math:sqrt", "-o", "function=math:floor"),
        ("submit", "python", "1", "-o", "function=math:sqrt", "-o", "function=math:floor"),
        ("submit", "python", "1", "-l", "team=a", "-l", "team=b"),
        ("ask", "hello", "--model", "opus", "-o", "model=haiku"),
        ("ask", "hello", "--tool", "Read", "-o", 'allowed_tools=["Bash"]'),
        ("ask", "hello", "-o", "cwd=/a", "-o", "cwd=/b"),
        ("ask", "hello", "-l", "team=a", "-l", "team=b"),
    ],
    ids=" ".join,
)
def test_two_values_for_one_thing(arguments: tuple[str, ...], mesh: CommandLine) -> None:
    """Neither is dropped in silence."""
    ran = mesh(*arguments, "--json")
    assert ran.status == 2
    assert "two values" in ran.error()["message"]


def test_text_is_text() -> None:
    """With --text nothing is taken as JSON."""
    job = build_submit(TypedJob(workload="python", inline=["1", "NaN", "{}"], as_text=True))

    assert job.items == ["1", "NaN", "{}"]


def test_a_file_of_items(tmp_path: Path) -> None:
    """JSON lines come after the typed items, in their order; empty lines and a CR before the newline do not count."""
    path = tmp_path / "items.jsonl"
    path.write_bytes('{"a": 1}\r\n\n  \n"ü"\n[2]'.encode())

    job = build_submit(TypedJob(workload="python", inline=["0"], items_file=str(path)))

    assert job.items == [0, {"a": 1}, "ü", [2]]


@pytest.mark.parametrize(("content", "line"), [(b"1\nnot json\n", 2), (b"1\n2\n\xff\n", 3), (b'{"a":1,"a":2}', 1)])
def test_a_bad_line_is_named(tmp_path: Path, content: bytes, line: int) -> None:
    """What is wrong with a file of items is told with the number of the line."""
    path = tmp_path / "items.jsonl"
    path.write_bytes(content)

    with pytest.raises(CliError, match=rf"line {line} of .*items\.jsonl"):
        build_submit(TypedJob(workload="python", items_file=str(path)))


def test_a_document_with_options_over_it(tmp_path: Path) -> None:
    """Fields of a document stay; options replace them, options of the workload and labels one by one."""
    path = tmp_path / "job.json"
    document = {
        "workload": "python",
        "items": [1, 2],
        "options": {"function": "math:sqrt", "depth": 1},
        "labels": {"team": "data", "kind": "nightly"},
        "priority": "batch",
        "tenant": "acme",
    }
    path.write_text(json.dumps(document))

    job = build_submit(
        TypedJob(
            document=str(path),
            options=["depth=[2]", "mode=fast"],
            labels=["kind=2024"],
            function="math:floor",
            fields={"priority": "interactive", "max_failed_items": 1, "tenant": None},
        )
    )

    assert job.model_dump(exclude_defaults=True) == document | {
        "options": {"function": "math:floor", "depth": [2], "mode": "fast"},
        "labels": {"team": "data", "kind": "2024"},
        "priority": "interactive",
        "max_failed_items": 1,
    }


def test_items_replace_those_of_a_document(tmp_path: Path) -> None:
    """Typed items take the place of the document's, of whichever kind they are."""
    path = tmp_path / "job.json"
    path.write_text('{"workload": "python", "items_url": "https://example.org/items.jsonl"}')

    typed = build_submit(TypedJob(document=str(path), inline=["7"]))
    path.write_text('{"workload": "python", "items": [1]}')
    by_url = build_submit(TypedJob(document=str(path), fields={"items_url": "https://example.org/more.jsonl"}))

    assert (typed.items, typed.items_url) == ([7], None)
    assert (by_url.items, by_url.items_url) == (None, "https://example.org/more.jsonl")


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        ((), b"", "no workload"),
        (("python",), b"", "no items"),
        (("python", "-"), b"", "items"),
        (("python", "--function", "math:sqrt"), b"", "no items"),
        (("python", "1", "--items-url", "https://example.org/x"), b"", "not both"),
        (("python", "-", "--items-file", "x.jsonl"), b"", "not both"),
        (("--file", "-", "--items-file", "-"), b"{}", "standard input"),
        (("python", "--file", "-"), b"{}", "beside --file"),
        (("--file", "-"), b"[1]", "no JSON object"),
        (("--file", "-"), b"\xff", "not UTF-8"),
        (("--file", "-"), b'{"workload": "python", "items": [1], "nonsense": 1}', "nonsense"),
        (("--file", "no-such-file"), b"", "cannot be read"),
        (("Python", "1"), b"", "workload"),
        (("python", "1", "--option", "depth"), b"", "--option"),
        (("python", "1", "--option", "=x"), b"", "--option"),
        (("python", "1", "--label", "x"), b"", "--label"),
        (("python", "1", "--job-id", "x"), b"", "job_id"),
        (("python", "1", "--tenant", "NOT A NAME"), b"", "tenant"),
        (("python", "1", "--item-timeout-seconds", "0"), b"", "item_timeout_seconds"),
        (("python", "1", "--max-failed-items", "-1"), b"", "max_failed_items"),
        (("python", "1", "--priority", "urgent"), b"", "priority"),
    ],
)
def test_what_cannot_be_sent(mesh: CommandLine, arguments: tuple[str, ...], stdin: bytes, says: str) -> None:
    """A job that breaks the contract is refused with 2 before any mesh is looked for."""
    ran = mesh("submit", *arguments, "--json", stdin=stdin)

    assert ran.status == 2, ran
    assert says in ran.error()["message"]


def test_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    """Not more is read of a file than could ever matter."""
    path = tmp_path / "items.jsonl"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)

    with pytest.raises(CliError, match="more than 4194304 bytes"):
        build_submit(TypedJob(workload="python", items_file=str(path)))


def test_more_items_than_a_job_may_have(tmp_path: Path) -> None:
    """No more of them are read than tell that there are too many: here by far the most lines are no JSON."""
    path = tmp_path / "items.jsonl"
    path.write_bytes(b"1\n" * 100_001 + b"{\n" * 100_000)

    with pytest.raises(CliError, match=r"items\.jsonl has more than 100000 items"):
        build_submit(TypedJob(workload="python", items_file=str(path)))
