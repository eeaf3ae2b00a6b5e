"""`mesh notify test` against real local servers."""

from __future__ import annotations

from pathlib import Path

from standardwebhooks import Webhook
from werkzeug import Response

from tests.integration.notifier.receivers import SECRET, http_receiver
from tests.unit.cli.command_line import Ran, run_here


def _run(tmp_path: Path, text: str | None, *arguments: str) -> Ran:
    environment = {"MESH_DATA_DIR": str(tmp_path), "MESH_NOTIFY_ALLOW_PRIVATE": "true", "HOOK_SECRET": SECRET}
    if text is not None:
        path = tmp_path / "notify.yaml"
        path.write_text(text, "utf-8")
        environment["MESH_NOTIFY_RULES"] = str(path)
    return run_here(["notify", "test", *arguments], environment)


def test_each_channel_is_tried(tmp_path: Path) -> None:
    """One takes it, one does not: both are told, and the exit status is 1; alone the good one is 0."""
    with http_receiver() as receiver:
        text = "channels:\n  terminal: {type: console}\n" + "".join(
            f'  {name}: {{type: webhook, url: "{receiver.url(f"/{name}")}", secret: "${{HOOK_SECRET}}"}}\n'
            for name in ("bad", "good")
        )
        receiver.server.expect_oneshot_request("/bad").respond_with_response(Response(status=404))
        ran = _run(tmp_path, text, "--json")
        alone = _run(tmp_path, text, "good")
        sent = [each for each in receiver.received if each.path == "/good"]
    assert ran.status == 1
    assert ran.answer("mesh-notify-test") == {
        "channels": [
            {"name": "terminal", "ok": True, "error_message": None},
            {"name": "bad", "ok": False, "error_message": "HTTP 404"},
            {"name": "good", "ok": True, "error_message": None},
        ]
    }
    assert "NOTICE" in ran.stderr
    assert alone.status == 0
    assert "good" in alone.stdout
    assert len(sent) == 2
    assert Webhook(SECRET).verify(sent[0].body, sent[0].headers)["type"] == "eldermesh.notify.test.v1"


def test_what_cannot_be_tried(tmp_path: Path) -> None:
    """No file is fine and says so; an unknown channel and a wrong file say what to do."""
    nothing = _run(tmp_path, None)
    assert nothing.status == 0
    assert "MESH_NOTIFY_RULES" in nothing.stderr
    unknown = _run(tmp_path, "channels: {a: {type: console}}", "b", "--json")
    assert unknown.status == 4
    assert "there are: a" in unknown.error()["hint"]
    wrong = _run(tmp_path, "channels: {a: {type: fax}}", "--json")
    assert wrong.status == 2
    assert "line 1: channels.a" in wrong.error()["message"]
