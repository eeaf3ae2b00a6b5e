"""What holds of every verb before any mesh is spoken to: errors, exit statuses, help, speed, a bare install."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from eldermesh_cli.program.verb_group import load_verb
from eldermesh_cli.program.verb_table import VERBS, Verb
from services.router.admission.contract_support import SUPPORT
from tests.unit.cli.command_line import CommandLine

JOB = "4f970e3e-d1a3-5d45-8587-591465c16100"

ASKS_A_MESH = [
    ("submit", "python", "--function", "math:sqrt", "1"),
    ("status", JOB),
    ("results", JOB),
    ("watch", JOB),
    ("list",),
    ("cancel", JOB),
    ("ask", "hello"),
    ("ask", "--follow", JOB),
    ("why", JOB),
    ("dlq", "ls"),
    ("dlq", "show", "0/0"),
    ("audit",),
    ("topics", "apply"),
]


@pytest.mark.parametrize("arguments", ASKS_A_MESH, ids=" ".join)
def test_a_mesh_that_does_not_answer(
    mesh: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """With an address where nobody listens every verb exits with 3, says so, and says which settings to check."""
    monkeypatch.setenv("MESH_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("MESH_REDIS_URL", "redis://127.0.0.1:1/0")

    ran = mesh(*arguments, "--json")

    assert ran.status == 3
    error = ran.error()
    assert error["error_type"] == "unavailable"
    assert "127.0.0.1:1" in error["message"]
    assert "MESH_KAFKA_BOOTSTRAP" in error["hint"]


def test_no_mesh_at_all(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings and without a running mesh the hint says how to start one."""
    monkeypatch.setattr("eldermesh.client.kafka._REQUEST_MS", 500)

    ran = mesh("status", JOB)

    if ran.status == 4:
        pytest.skip("something answers at the default address of this machine")
    assert ran.status == 3
    assert ran.stderr.startswith("Error: no mesh is running: ")
    assert "mesh up --detach" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nonsense",), "No such command"),
        (("status",), "Missing argument"),
        (("status", JOB, "--nonsense"), "No such option"),
        (("status", "not-a-job"), "no job id"),
        (("list", "--state", "dead"), "dead"),
        (("list", "--state", "nonsense"), "nonsense"),
        (("list", "--cursor", "nonsense"), "no cursor"),
        (("list", "--limit", "0"), "limit"),
        (("list", "--label", "nonsense"), "NAME=VALUE"),
        (("dlq", "ls", "--cursor", "1.x.2"), "no cursor"),
        (("dlq", "ls", "--error-type", "nonsense"), "nonsense"),
        (("dlq", "show", "a/b"), "partition/offset"),
        (("watch", JOB, "--from-sequence", "0"), "from-sequence"),
        (("ask",), "exactly one of"),
        (("ask", "hello", "--cancel", JOB), "exactly one of"),
        (("ask", " "), "an empty prompt"),
        (("ask", "hello", "--label", "nonsense"), "NAME=VALUE"),
        (("ask", "--follow", "nonsense"), "no job id"),
        *(
            ((*verb, option, number), option)
            for *verb, option in (
                ("submit", "python", "1", "--timeout"),
                ("ask", "hello", "--timeout"),
                ("results", JOB, "--timeout"),
                ("watch", JOB, "--timeout"),
                ("audit", "--wait"),
                ("down", "--timeout"),
            )
            for number in ("1e309", "inf", "nan", "-1")
        ),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_usage(mesh: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    """What cannot be asked is refused with 2, as JSON with --json and as a sentence without."""
    as_json, as_text = mesh(*arguments, "--json"), mesh(*arguments)

    assert as_json.status == as_text.status == 2
    error = as_json.error()
    assert error["error_type"] == "usage"
    assert says in error["message"]
    assert as_text.stderr.startswith("Error: ")
    assert says in as_text.stderr


def test_json_after_the_separator_is_an_argument(mesh: CommandLine) -> None:
    """What stands behind `--` asks for nothing, so the error comes as text."""
    ran = mesh("status", "--", "--json")

    assert ran.status == 2
    assert ran.stderr.startswith("Error: '--json' is no job id")


def test_wrong_settings(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be is named by the variable it comes from, and its value is not repeated."""
    monkeypatch.setenv("MESH_PARTITIONS", "many-secret-partitions")

    ran = mesh("config", "--json")

    assert ran.status == 2
    error = ran.error()
    assert error["error_type"] == "configuration"
    assert "MESH_PARTITIONS" in error["message"]
    assert "secret" not in error["message"]


def test_an_error_of_mesh_itself(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw is told as such, with a status of its own and no traceback."""
    monkeypatch.setattr("eldermesh_cli.program.version.Output.answer", lambda _self, _answer: 1 // 0)

    ran = mesh("version", "--json")

    assert ran.status == 70
    assert ran.error()["error_type"] == "internal"
    assert "ZeroDivisionError" in ran.error()["message"]


def test_ctrl_c(mesh: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt is no error: nothing but the status of a shell's Ctrl-C."""

    def interrupt(_self: object, _answer: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("eldermesh_cli.program.version.Output.answer", interrupt)

    ran = mesh("version", "--json")

    assert (ran.status, ran.stdout, ran.stderr) == (130, "", "")


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_has_examples(mesh: CommandLine, verb: Verb) -> None:
    """The help of each command says what it does and has an example that begins with its name."""
    command = load_verb(verb)
    names = [(verb.name, name) for name in command.commands] if hasattr(command, "commands") else [(verb.name,)]
    for path in names:
        ran = mesh(*path, "--help")

        assert ran.status == 0
        assert re.search(rf"\$ (.*\| |[A-Z_]+=\S+ )*mesh {' '.join(path)}\b", ran.stdout), ran.stdout


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_has_whole_names_of_options(mesh: CommandLine, verb: Verb, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eighty columns are enough to read what has to be typed."""
    monkeypatch.setenv("COLUMNS", "80")
    command = load_verb(verb)
    for name, leaf in getattr(command, "commands", {None: command}).items():
        words = mesh(verb.name, *([] if name is None else [name]), "--help").stdout.split()

        assert {option for each in leaf.params for option in each.opts if option.startswith("--")} <= set(words)


def test_help_says_what_is_not_supported(mesh: CommandLine) -> None:
    """What admission refuses is not offered as if it worked."""
    lines = mesh("submit", "--help").stdout.splitlines()
    for refused in [each for each in SUPPORT if each.status == "refused"]:
        (line,) = [line for line in lines if f"--{refused.field.replace('_', '-')} " in line]
        assert "Not supported yet" in line


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_verbs_are_where_the_table_says(verb: Verb) -> None:
    """Each verb's module registers a command of that name, under the same heading."""
    command = load_verb(verb)

    assert command.name == verb.name
    assert command.rich_help_panel == verb.panel


def test_every_leaf_takes_json() -> None:
    """`--json` is everywhere."""
    for verb in VERBS:
        command = load_verb(verb)
        for leaf in getattr(command, "commands", {"": command}).values():
            assert "--json" in {option for parameter in leaf.params for option in parameter.opts}, verb.name


def test_help_loads_no_client() -> None:
    """`mesh --help` stays quick since it imports none of the libraries that only verbs need."""
    heavy = {"aiokafka", "celery", "fsspec", "httpx", "opentelemetry", "pydantic", "ray", "redis", "structlog"}
    program = "import sys, runpy, atexit; atexit.register(lambda: print(*sys.modules)); "
    program += "sys.argv = ['mesh', '--help']; runpy.run_module('eldermesh_cli.main', run_name='__main__')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=120, text=True)
    loaded = set(ran.stdout.splitlines()[-1].split())

    assert {"eldermesh_cli.program.verb_table", "typer"} <= loaded
    assert not heavy & loaded
