"""The service on a real broker and Redis: once under redelivery, tried again, given up, and through restarts."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook
from werkzeug import Request, Response

from eldermesh.contract.deadletters import DeadLetterHeaders
from eldermesh.contract.ids import trace_id_of
from eldermesh_cli.stack.servers.mesh_services import notifier_service
from eldermesh_cli.stack.service import Service
from services.notifier.app import make_app
from services.notifier.channels.slack import SlackSender
from services.notifier.planner.planner import notification_id
from services.notifier.rules import channels
from shared.errors import ConfigurationError
from shared.facts.notifications import NotificationFailed, NotificationPlanned, NotificationPostponed
from shared.settings import Settings
from shared.telemetry import metric_names, names
from tests.integration.notifier.notifying import Notifying, notifying, running
from tests.integration.notifier.receivers import SECRET, HttpReceiver, Received, http_receiver, mail_receiver
from tests.metric_reader import metric_reader
from tests.recorded_spans import recorded_spans
from tests.trace_edges import HOLD_NOTIFICATION_EDGES, NOTIFICATION_EDGES
from tests.waiting import wait_until

SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
WEBHOOK = """\
channels:
  hook: {{type: webhook, url: "{url}", secret: "${{HOOK_SECRET}}"}}
rules:
  - {{name: bad, on: [end, hold, reminder], match: {{status: failed}}, channels: hook}}
"""


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("SLACK_URL", SLACK)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An HTTP server."""
    with http_receiver() as server:
        yield server


def rules(receiver: HttpReceiver) -> str:
    """A file with one webhook."""
    return WEBHOOK.format(url=receiver.url())


async def received(receiver: HttpReceiver, count: int) -> list[Received]:
    """What was posted, once it is so many."""
    await wait_until(lambda: len(receiver.received) >= count, description=f"{count} messages", timeout_seconds=120)
    return list(receiver.received)


def about(messages: list[Received], job_id: str) -> list[Received]:
    """Those of one job."""
    return [each for each in messages if job_id.encode() in each.body]


async def test_every_channel_once(
    embedded_broker: str,
    redis_server: str,
    tmp_path: Path,
    receiver: HttpReceiver,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An end that is delivered three times is told once on each channel, and all of it is in the job's trace."""
    monkeypatch.setattr(channels, "SlackSender", lambda _: SlackSender(SecretStr(receiver.url("/services"))))
    with mail_receiver() as mail, recorded_spans() as spans, metric_reader() as metrics:
        text = f"""\
channels:
  terminal: {{type: console}}
  hook: {{type: webhook, url: "{receiver.url()}", secret: "${{HOOK_SECRET}}"}}
  ops: {{type: slack, url: "${{SLACK_URL}}"}}
  mail: {{type: email, host: 127.0.0.1, port: {mail.port}, tls: none, from: mesh@example.com, to: [a@example.com]}}
rules:
  - {{name: bad, on: end, match: {{status: failed}}, channels: [terminal, hook, ops, mail]}}
"""
        async with notifying(embedded_broker, redis_server, tmp_path, text) as mesh:
            async with running(mesh.settings):
                quiet = await mesh.end(status="completed", error_type=None)
                job_id = await mesh.end(times=3)
                await mesh.told("notification.planned", 12)
                await mesh.told("notification.sent", 4)
                await mesh.end()
                types = Counter(await mesh.told("notification.sent", 8))
            # A mark stands behind each plan that came after its end.
            del types["notification.ended"]
            assert types == {"notification.planned": 16, "notification.sending": 8, "notification.sent": 8}
        planned = metrics.values(metric_names.NOTIFICATIONS_PLANNED, names.NOTIFICATION_CHANNEL)
        assert planned == dict.fromkeys(("terminal", "hook", "ops", "mail"), 4)
        assert metrics.values(metric_names.NOTIFICATION_ATTEMPTS, names.NOTIFICATION_OUTCOME)["sent"] == 2
    hook, slack = (
        [each for each in about(receiver.received, job_id) if each.path.startswith(path)] for path in ("/hook", "/serv")
    )
    assert (len(hook), len(slack)) == (1, 1)
    payload = Webhook(SECRET).verify(hook[0].body, hook[0].headers)
    assert payload["data"]["record"]["job_id"] == job_id
    assert hook[0].headers["Webhook-Id"] == notification_id(job_id, "end", "bad", "hook")
    (made,) = [made for _, made in mail.received if job_id in made.as_string()]
    assert made["Message-ID"] == f"<{notification_id(job_id, 'end', 'bad', 'mail')}@eldermesh>"
    (line,) = [line for line in capfd.readouterr().out.splitlines() if job_id in line]
    assert line.startswith("NOTICE ")
    assert about(receiver.received, quiet) == []

    trace = [each for each in spans.get_finished_spans() if each.context.trace_id == int(trace_id_of(job_id), 16)]
    by_id = {each.context.span_id: each.name for each in trace}
    edges = {(by_id.get(each.parent.span_id, "accept job"), each.name) for each in trace if each.parent is not None}
    assert edges == set(NOTIFICATION_EDGES)
    assert [each.name for each in trace].count("send notification") == 4


async def test_holds_and_reminders(
    embedded_broker: str, redis_server: str, tmp_path: Path, receiver: HttpReceiver
) -> None:
    """A hold and its reminder are two events; their spans lie below those of the topic of holds."""
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver)) as mesh:
        with recorded_spans() as spans:
            async with running(mesh.settings):
                job_id = await mesh.hold()
                await received(receiver, 1)
                await mesh.hold(reminder=True, job_id=job_id)
                messages = await received(receiver, 2)
        assert [each.headers["Webhook-Id"] for each in messages] == [
            notification_id(job_id, event, "bad", "hook") for event in ("hold:1", "hold-reminder:1")
        ]
        assert f"mesh approve {job_id}".encode() in messages[0].body
        assert {name for _, name in HOLD_NOTIFICATION_EDGES} <= {each.name for each in spans.get_finished_spans()}


async def test_retry_after_is_obeyed_through_a_restart(
    embedded_broker: str, redis_server: str, tmp_path: Path, receiver: HttpReceiver
) -> None:
    """429 postpones until then; the next notifier goes on with it, under the same id, and not before."""
    receiver.answers += [Response(status=429, headers={"Retry-After": "8"}), Response(status=503)]
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver)) as mesh:
        async with running(mesh.settings):
            job_id = await mesh.end()
            await mesh.types(3)
        (postponed,) = [fact for _, fact in await mesh.facts() if isinstance(fact, NotificationPostponed)]
        assert postponed.reason == "HTTP 429"
        assert len(receiver.received) == 1
        async with running(mesh.settings):
            messages = await received(receiver, 3)
            types = await mesh.types(9)
    assert types == [
        "notification.planned",
        "notification.sending",
        "notification.postponed",
        "timer.fired",
        "notification.sending",
        "notification.postponed",
        "timer.fired",
        "notification.sending",
        "notification.sent",
    ]
    assert {each.headers["Webhook-Id"] for each in messages} == {notification_id(job_id, "end", "bad", "hook")}
    assert len({each.body for each in messages}) == 1
    assert int(messages[1].headers["Webhook-Timestamp"]) - int(messages[0].headers["Webhook-Timestamp"]) >= 8


@pytest.mark.parametrize(
    ("answers", "values", "reason"),
    [
        ([404], {}, "HTTP 404"),
        ([500, 500], {"notify_attempts": 2}, "given up after 2 attempts: HTTP 500"),
        ([], {"notify_allow_private": False}, "http:// is for networks inside"),
    ],
    ids=["for good", "given up", "refused"],
)
async def test_a_dead_letter(
    embedded_broker: str,
    redis_server: str,
    tmp_path: Path,
    receiver: HttpReceiver,
    answers: list[int],
    values: dict[str, Any],
    reason: str,
) -> None:
    """What cannot be told is a dead letter with the reason; it is over then, for redelivery, too."""
    receiver.answers += [Response(status=status) for status in answers]
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver), **values) as mesh:
        with metric_reader() as metrics:
            async with running(mesh.settings):
                job_id = await mesh.end(times=2)
                (letter,) = await mesh.dead()

                async def ended() -> bool:
                    return "notification.ended" in [fact.fact_type for _, fact in await mesh.facts()]

                await wait_until(ended, description="its mark", interval_seconds=0.1)
            assert metrics.values(metric_names.NOTIFICATIONS_FAILED, names.NOTIFICATION_CHANNEL) == {"hook": 1}
    subject = notification_id(job_id, "end", "bad", "hook")
    provenance = DeadLetterHeaders.decode(letter.headers)
    assert letter.key == subject.encode()
    assert provenance.topic == mesh.settings.topic("notifications")
    assert provenance.error_type == "internal"
    assert reason in provenance.reason
    assert NotificationPlanned.model_validate_json(letter.value).job_id == job_id
    assert len(receiver.received) == len(answers)
    assert SECRET.encode() not in letter.value


async def test_a_channel_that_is_gone(
    embedded_broker: str, redis_server: str, tmp_path: Path, receiver: HttpReceiver
) -> None:
    """What was planned for a channel that the rules file lost is given up, and says so."""
    receiver.answers.append(Response(status=503, headers={"Retry-After": "8"}))
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver)) as mesh:
        async with running(mesh.settings):
            await mesh.end()
            await mesh.types(3)
        async with running(mesh.settings.model_copy(update={"notify_rules": None})):
            await mesh.end()
            await mesh.dead()
        (failed,) = [fact for _, fact in await mesh.facts() if isinstance(fact, NotificationFailed)]
    assert failed.reason == "the rules file has no such channel any more"
    assert len(receiver.received) == 1


async def test_old_news_and_no_rules(
    embedded_broker: str, redis_server: str, tmp_path: Path, receiver: HttpReceiver
) -> None:
    """What was there before the first start is told if it is young; without rules nobody is told anything."""
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver)) as mesh:
        old = await mesh.end(age_seconds=90_000)
        young = await mesh.end(age_seconds=80_000)
        async with running(mesh.settings):
            messages = await received(receiver, 1)
        assert len(about(messages, young)) == 1
        assert about(messages, old) == []
        assert {fact.job_id for _, fact in await mesh.facts() if isinstance(fact, NotificationPlanned)} == {young}


async def test_a_wrong_file_stops_the_start(embedded_broker: str, redis_server: str, tmp_path: Path) -> None:
    """The notifier does not run with half of its rules."""
    async with notifying(embedded_broker, redis_server, tmp_path, "rules: [{}]") as mesh:
        with pytest.raises(ConfigurationError, match=r"rules\[0\]\.name: required"):
            make_app(mesh.settings)


class _SlowOnce:
    """Answers the first request only when it is let go."""

    def __init__(self, receiver: HttpReceiver) -> None:
        self.receiver = receiver
        self.go_on = threading.Event()

    def answer(self, request: Request) -> Response:
        """Take a request; hold up the first."""
        response = self.receiver.answer(request)
        if len(self.receiver.received) == 1:
            self.go_on.wait(60)
        return response


@pytest.fixture
def slow(receiver: HttpReceiver) -> Iterator[_SlowOnce]:
    """The server, slow once."""
    slow = _SlowOnce(receiver)
    receiver.server.clear_all_handlers()
    receiver.server.expect_request("/hook").respond_with_handler(slow.answer)
    yield slow
    slow.go_on.set()


def _process(settings: Settings, directory: Path) -> Service:
    spec = notifier_service(settings)
    return Service(replace(spec, env={**spec.env, "HOOK_SECRET": SECRET}), log_dir=directory / "logs")


@pytest.mark.slow
async def test_killed_while_it_sends(
    embedded_broker: str, redis_server: str, tmp_path: Path, receiver: HttpReceiver, slow: _SlowOnce
) -> None:
    """Kill -9 in the middle of a send: one repeat, with the same webhook-id and body, and none after that."""
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver)) as mesh:
        service = _process(mesh.settings, tmp_path)
        await service.bring_up()
        try:
            job_id = await mesh.end()
            await received(receiver, 1)
            assert service.pid is not None
            os.kill(service.pid, signal.SIGKILL)
            await service.wait()
            await service.bring_up()
            await received(receiver, 2)
            types = await mesh.types(5)
            await _again(mesh, job_id)
        finally:
            await service.shut_down()
        assert types == [
            "notification.planned",
            "notification.sending",
            "notification.replanned",
            "notification.sending",
            "notification.sent",
        ]
        first, second = about(receiver.received, job_id)
        assert first.headers["Webhook-Id"] == second.headers["Webhook-Id"]
        assert first.body == second.body
        log = (tmp_path / "logs" / "notifier.log").read_text("utf-8")
        assert SECRET not in log


async def _again(mesh: Notifying, job_id: str) -> None:
    """Deliver the end of a job once more, and wait until another one behind it has been told."""
    before = [fact.fact_type for _, fact in await mesh.facts()].count("notification.sent")
    await mesh.end(job_id=job_id)
    await mesh.end()
    await mesh.told("notification.sent", before + 1)


async def test_stopped_while_it_sends(
    embedded_broker: str, redis_server: str, tmp_path: Path, receiver: HttpReceiver, slow: _SlowOnce
) -> None:
    """A send that does not end within the drain is broken off, which is no death; the next notifier sends it."""
    async with notifying(embedded_broker, redis_server, tmp_path, rules(receiver)) as mesh:
        async with running(mesh.settings):
            await mesh.end()
            await received(receiver, 1)
        assert (await mesh.types(3))[2] == "notification.interrupted"
        async with running(mesh.settings):
            first, second = await received(receiver, 2)
            types = await mesh.types(5)
    assert types[3:] == ["notification.sending", "notification.sent"]
    assert replace(first, headers={}) == replace(second, headers={})
    assert first.headers["Webhook-Id"] == second.headers["Webhook-Id"]
