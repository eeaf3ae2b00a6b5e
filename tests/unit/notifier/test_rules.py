"""The rules file: what it may say, how errors are told, and which events a rule wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.notifier.planner.occurrence import occurrence_of
from services.notifier.planner.planner import wants
from services.notifier.rules.file import MAX_BYTES, load_rules
from services.notifier.rules.schema import Rule, Rules
from shared.errors import ConfigurationError, DeadLetterError
from shared.settings import Settings
from tests.unit.notifier.events import ended, held, record

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("SLACK_URL", SLACK)
    monkeypatch.setenv("SLACK_BOT", "https://example.com/xoxb-1")
    monkeypatch.setenv("SLACK_WORKFLOW", "https://hooks.slack.com/workflows/T1JJ3T3L2/A1BRTD4JD/123456789/abcdefgh")
    monkeypatch.setenv("SMTP_PASSWORD", "pw")
    monkeypatch.setenv("HOST", "hooks.example.com")
    monkeypatch.delenv("MISSING", raising=False)


def load(tmp_path: Path, text: str) -> Rules:
    """The rules of a file with this text."""
    path = tmp_path / "notify.yaml"
    path.write_text(text, "utf-8")
    return load_rules(path)


def trouble(tmp_path: Path, text: str) -> str:
    """Why a file is refused."""
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, text)
    return str(refused.value).replace(f"{tmp_path}/", "")


def rule(**fields: Any) -> Rule:
    """A rule for ends on the channel `c`."""
    return Rule.model_validate({"name": "r", "on": "end", "channels": "c"} | fields)


def test_a_secret_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers get it; the variable itself, and a file that is empty, say nothing."""
    text = channel(type="slack", url="${FROM_FILE}")
    file = tmp_path / "slack_url"
    file.write_text(f"{SLACK}\n", "utf-8")
    monkeypatch.setenv("FROM_FILE", "")
    monkeypatch.setenv("FROM_FILE_FILE", str(file))
    assert set(load(tmp_path, text).channels) == {"a"}
    file.write_text("", "utf-8")
    assert "no variable FROM_FILE: set it for the notifier, or FROM_FILE_FILE" in trouble(tmp_path, text)
    file.unlink()
    assert "the variable FROM_FILE_FILE: slack_url cannot be read: No such file" in trouble(tmp_path, text)
    monkeypatch.setenv("FROM_FILE", SLACK)
    assert "both FROM_FILE and FROM_FILE_FILE are set: unset one of them" in trouble(tmp_path, text)


WHOLE = """\
channels:
  terminal: {type: console}
  hook:
    type: webhook
    url: https://${HOST}/mesh
    secret: ${HOOK_SECRET}
  ops: {type: slack, url: "${SLACK_URL}"}
  mail:
    type: email
    host: smtp.example.com
    from: mesh@example.com
    to: [a@example.com, b@example.com]
    user: mesh
    password: ${SMTP_PASSWORD}
rules:
  - name: all
    on: [end, hold, reminder]
    match: {status: failed, tenant: ["a*", b], labels: {team: x}, min_duration_seconds: 1, min_cost_usd: 0.5}
    channels: [terminal, hook, ops, mail]
    template: {title: "{{ workload }}", body: b, html: "<b>x</b>"}
"""


def test_a_whole_file(tmp_path: Path) -> None:
    """All kinds of channels and all conditions; `on` is a word; secrets come from the environment and are not shown."""
    rules = load(tmp_path, WHOLE)
    assert rules.rules[0].on == ("end", "hold", "reminder")
    assert rules.rules[0].match.status == ("failed",)
    for channel in rules.channels.values():
        channel.sender(Settings(_env_file=None))
    shown = repr(rules)
    assert SECRET not in shown
    assert SLACK not in shown


def test_nothing_configured(tmp_path: Path) -> None:
    """No file, an empty one, and one without rules are fine."""
    assert load_rules(None) == load(tmp_path, "") == load(tmp_path, "rules: []") == Rules()


def channel(**fields: str) -> str:
    """A file with one channel, a field a line; the first field is on line 3."""
    return "channels:\n  a:\n" + "".join(f"    {name.strip('_')}: {value}\n" for name, value in fields.items())


def mail(**fields: str) -> str:
    """A file with one e-mail channel."""
    return channel(**({"type": "email", "host": "h", "from_": "a@b.c", "to": "[a@b.c]"} | fields))


def hook(url: str, secret: str) -> str:
    """A file with one webhook."""
    return channel(type="webhook", url=url, secret=secret)


def one_rule(more: str, channels: str = "") -> str:
    """A file with one rule, whose fields begin on line 2."""
    return f"rules:\n  - name: r\n    channels: a\n{more}{channels}"


_CONSOLE = "channels: {a: {type: console}}\n"
_R = "  - {name: r, on: end, channels: a}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (channel(type="console", colour="red"), "notify.yaml, line 4: channels.a.colour: unknown field"),
        (channel(type="fax"), "notify.yaml, line 2: channels.a: "),
        (hook("x", "abc"), "line 4: channels.a.url: must be an address"),
        (hook("http://h:port/", "abc"), "line 4: channels.a.url: no URL"),
        (hook("x", "abc"), "line 5: channels.a.secret: a secret: write ${NAME}"),
        (hook("http://u:p@h/", "${HOOK_SECRET}"), "must hold no user"),
        (hook("https://h/", "${SMTP_PASSWORD}"), "channels.a.secret: must be of at least 24 bytes"),
        (hook("https://h/", "${HOST}"), "channels.a.secret: must be whsec_"),
        (channel(type="slack", url="${MISSING}"), "line 4: channels.a.url: the environment has no variable MISSING"),
        (channel(type="slack", url="${HOOK_SECRET}"), "channels.a.url: no address of an incoming webhook"),
        (channel(type="slack", url="${SLACK_BOT}"), "channels.a.url: no address of an incoming webhook"),
        (channel(type="slack", url="${SLACK_WORKFLOW}"), "channels.a.url: only incoming webhooks"),
        (mail(to="[x]"), "line 6: channels.a.to[0]: "),
        (mail(user="u"), "user and password go together"),
        (mail(user="u", password="${HOST}", tls="none"), "an encrypted connection only"),
        (one_rule("    on: end\n"), "rules: 'r' names the channel 'a'; there are none"),
        (one_rule("    on: never\n"), "line 4: rules[0].on"),
        (one_rule(""), "line 2: rules[0].on: required"),
        (one_rule("    on: [end, end]\n"), "each only once"),
        (one_rule("    on: hold\n    match: {status: failed}\n"), "which are not in `on`"),
        (
            one_rule("    on: end\n    template:\n      title: '{{ x'\n"),
            "line 6: rules[0].template.title: the template",
        ),
        (f"{_CONSOLE}rules:\n{_R}{_R}", "two have the name 'r'"),
        ("channels: {a: {type: console}, a: {type: console}}\n", "line 1: a stands here twice"),
        ("channels: [\n", "notify.yaml: line 2: "),
        ("\0", "notify.yaml: no YAML in UTF-8"),
        ("just text\n", "notify.yaml: "),
        ("rules: [" + ",".join(["{x: 1}"] * 6) + "]\n", "more"),
    ],
)
def test_errors_name_line_and_field(tmp_path: Path, text: str, told: str) -> None:
    """Each error says where it is and what to do; none quotes a secret."""
    found = trouble(tmp_path, text)
    assert told in found
    assert SECRET not in found
    assert SLACK not in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 2_000, "nested too deeply"),
        ("".join(" " * depth + "a:\n" for depth in range(800)), "nested too deeply"),
        ("rules: &again [*again]\n", r"line 1: rules\[0\]: "),
        (
            "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 200)),
            "line 1: a0: unknown field",
        ),
    ],
    ids=["a list", "a mapping", "in itself", "doubled"],
)
def test_a_file_that_is_nested_without_end(tmp_path: Path, text: str, told: str) -> None:
    """What is nested without end, or repeats repeats, is a wrong file: no more, and at once."""
    with pytest.raises(ConfigurationError, match=told):
        load(tmp_path, text)


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    """As YAML has it; its errors are those of the line on which it stands."""
    shared = 'channels: {c: &c {type: console}, d: *c}\nrules: [{name: n, "on": end, channels: [c, d]}]\n'
    assert sorted(load(tmp_path, shared).channels) == ["c", "d"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing or too large file is refused, not passed over."""
    with pytest.raises(ConfigurationError, match="MESH_NOTIFY_RULES"):
        load_rules(tmp_path / "none.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigurationError, match="larger"):
        load_rules(large)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        ({"status": ["failed", "rejected"]}, {}, {"status": "completed"}),
        ({"workload": "cla*"}, {}, {"workload": "python"}),
        ({"tenant": ["a", "d*"]}, {}, {"tenant": "billing"}),
        ({"labels": {"team": "inv*"}}, {}, {"labels": {"team": "ops"}}),
        ({"labels": {"team": "*"}}, {}, {"labels": {}}),
        ({"min_duration_seconds": 200}, {}, {"accepted_at": "2026-11-24T03:23:19.124Z"}),
        ({"min_cost_usd": 1.25}, {}, {"cost_usd": 1.24}),
        ({"min_cost_usd": 0.01}, {}, {"cost_usd": None}),
    ],
)
def test_conditions(match: dict[str, Any], yes: dict[str, Any], no: dict[str, Any]) -> None:
    """Each condition by itself lets one end through and not the other."""
    assert wants(rule(match=match), ended(**yes))
    assert not wants(rule(match=match), ended(**no))


def test_all_conditions_must_hold() -> None:
    """One that does not hold is enough."""
    assert not wants(rule(match={"workload": "claude", "tenant": "other"}), ended())


def test_holds_are_not_asked_of_ends() -> None:
    """A rule on both wants every hold that fits otherwise, and a rule on one kind no other."""
    both = rule(on=["end", "hold"], match={"status": "failed", "min_cost_usd": 9})
    assert wants(both, held())
    assert not wants(both, held(reminder=True))
    assert wants(rule(on="reminder"), held(reminder=True))
    assert not wants(rule(), held())
    assert not wants(rule(on="hold", match={"tenant": "x"}), held())


def test_events_have_keys_of_their_own() -> None:
    """The end, each hold and each reminder is an event of its own."""
    keys = [each.key for each in (ended(), held(), held(hold=2), held(reminder=True, hold=2))]
    assert keys == ["end", "hold:1", "hold:2", "hold-reminder:2"]
    assert held().duration_seconds is None
    assert held().job_id == ended().job_id


def test_a_record_that_is_no_event() -> None:
    """Bad bytes and missing fields are dead letters."""
    with pytest.raises(DeadLetterError) as undecodable:
        occurrence_of(record(b"{", "eldermesh.job.failed.v1"))
    assert undecodable.value.error_type == "undecodable"
    with pytest.raises(DeadLetterError) as invalid:
        occurrence_of(record(b"{}", "eldermesh.job.held.v1"))
    assert invalid.value.error_type == "invalid"


def test_repeated_names_in_python() -> None:
    """A rule without a known channel is refused where no file is, too."""
    with pytest.raises(ValidationError):
        Rules.model_validate({"rules": [{"name": "r", "on": "end", "channels": "a"}]})
