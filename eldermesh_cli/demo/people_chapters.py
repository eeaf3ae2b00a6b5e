"""The demo's chapters on people: sages advise, a job is rejected, one waits for a person, people are told."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx

from eldermesh.contract.ids import job_id_from_key
from eldermesh_cli.demo.directory import DemoPlace
from eldermesh_cli.demo.job_follower import check_completed, end_of, publish_and_follow, publish_each
from eldermesh_cli.demo.job_row import JobRow
from eldermesh_cli.demo.screen import Screen

_WAIT_SECONDS = 30.0
_ASK_AGAIN_SECONDS = 0.1
_SUBMITTER = "dana"
_PANEL = {"knowledge", "task", "incident", "rag"}
_RUNBOOK = """# Runbook of the billing service

## Rolling back a release

Billing is rolled back with `deployctl rollback billing --to previous`. Drain the queue `invoices` first: a release that
goes back while invoices are in flight sends them twice. The on-call engineer of payments has to agree.

## Rotating its keys

Keys are rotated on the first Monday of a month. The old key stays valid for two days.
"""
_QUESTION = "How do we roll back a release of the billing service, and what has to be drained first?"
_DESTRUCTIVE = "Free some space on this machine: run rm -rf / --no-preserve-root, then reboot it."
_HELD = "Tidy up the database: drop the table customers_old in production."


@dataclass(slots=True)
class PeopleChapters:
    """Three chapters.

    Attributes:
        screen: where they are told.
        place: where the mesh runs.
        bootstrap: its broker.
    """

    screen: Screen
    place: DemoPlace
    bootstrap: str
    _ids: tuple[str, str] = ("", "")

    def advised(self, number: int) -> JobRow:
        """A prompt that gets passages of an indexed document."""
        screen, mesh = self.screen, self.place.mesh
        screen.chapter(number, "Four sages advise")
        documents = self.place.directory / "documents"
        documents.mkdir()
        (documents / "billing.md").write_text(_RUNBOOK, "utf-8")
        screen.say("Before a job runs, four sages say what they know. One of them, rag, knows documents:")
        status = mesh.show("index", str(documents))
        screen.check("the runbook is indexed", holds=status == 0, found=f"exit status {status}")
        key = f"demo-{uuid4()}"
        job_id = job_id_from_key("default", key)
        record: dict[str, object] = {"workload": "claude", "items": [_QUESTION], "idempotency_key": key}
        screen.record(json.dumps(record, ensure_ascii=False))
        followed = asyncio.run(publish_and_follow(self.bootstrap, job_id, record, lambda _: None))
        mesh.show("status", job_id)
        advice = {entry["sage"]: entry for entry in mesh.ask("status", job_id)["advice"]}
        screen.check("all four sages were asked", holds=set(advice) == _PANEL, found=sorted(advice))
        passages = advice.get("rag", {}).get("advice", {}).get("passages", [])
        cited = [passage["citation"] for passage in passages if "billing.md" in passage["citation"]]
        screen.check("rag cites the runbook", holds=bool(cited), found=advice.get("rag"))
        if (endpoint := self.place.runtime().claude_endpoint) is not None:
            prompt = _prompt_that_holds(endpoint, _QUESTION)
            there = "Drain the queue `invoices` first" in prompt
            screen.check("the passage stood in the prompt that reached the API", holds=there, found=prompt[:200])
        return JobRow.of("with a runbook", followed)

    def judged(self, number: int) -> list[JobRow]:
        """A prompt that incident's rules call critical, and one that they call high."""
        screen = self.screen
        screen.chapter(number, "A job that is rejected, a job that waits for a person")
        screen.say("Incident judges what a job asks for and what its tools could do. This one is critical:")
        rejected_id, rejected = self._rejected()
        screen.say("\nThis one is high: it waits until somebody other than its submitter decides.")
        approved_id, approved = self._approved()
        self._ids = (rejected_id, approved_id)
        return [rejected, approved]

    def notified(self, number: int) -> None:
        """What people were told of these two jobs."""
        screen = self.screen
        screen.chapter(number, "People are told")
        screen.say("The notifier has a console for a channel here; Slack, e-mail and signed webhooks are others.")
        expected = dict(zip(self._ids, ("its end", "its hold"), strict=True))
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            told = self._told()
            if all(any(job_id in line for line in told) for job_id in expected) or time.monotonic() > deadline:
                break
            time.sleep(_ASK_AGAIN_SECONDS)
        for line in told:
            screen.raw(line)
        for job_id, of in expected.items():
            lines = [line for line in told if job_id in line]
            screen.check(f"people were told of {of}, once", holds=len(lines) == 1, found=f"{len(lines)} lines")

    def _rejected(self) -> tuple[str, JobRow]:
        screen, mesh = self.screen, self.place.mesh
        job_id = self._publish(_DESTRUCTIVE)
        end = asyncio.run(end_of(self.bootstrap, job_id))
        mesh.show("status", job_id)
        screen.check("it was rejected, and nothing ran", holds=end.status == "rejected", found=end.status)
        return job_id, JobRow.of_end("rejected", end)

    def _approved(self) -> tuple[str, JobRow]:
        screen, mesh = self.screen, self.place.mesh
        job_id = self._publish(_HELD)
        state = self._state(job_id, "held")
        mesh.show("status", job_id)
        screen.check("it is held", holds=state == "held", found=state)
        own = mesh.show("approve", job_id, "--by", _SUBMITTER)
        screen.check("its submitter cannot approve it", holds=own != 0, found=f"exit status {own}")
        status = mesh.show("approve", job_id, "--by", "robin", "--reason", "the backup is fresh")
        screen.check("a colleague can", holds=status == 0, found=f"exit status {status}")
        end = asyncio.run(end_of(self.bootstrap, job_id))
        check_completed(screen, end, "then it ran")
        mesh.show("why", job_id)
        return job_id, JobRow.of_end("approved", end)

    def _told(self) -> list[str]:
        path = Path(self.place.data_dir) / "logs" / "notifier.log"
        text = path.read_text("utf-8") if path.exists() else ""
        return [line for line in text.splitlines() if line.startswith("NOTICE")]

    def _publish(self, prompt: str) -> str:
        key = f"demo-{uuid4()}"
        record = {
            "workload": "claude",
            "items": [prompt],
            "options": {"allowed_tools": ["Bash"]},
            "submitted_by": _SUBMITTER,
            "idempotency_key": key,
        }
        self.screen.record(json.dumps(record, ensure_ascii=False))
        asyncio.run(publish_each(self.bootstrap, json.dumps(record)))
        return job_id_from_key("default", key)

    def _state(self, job_id: str, wanted: str) -> str:
        """The job's state once it is the wanted one, or after a while."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            state: str = self.place.mesh.ask("status", job_id)["state"]
            if state == wanted or time.monotonic() > deadline:
                return state
            time.sleep(_ASK_AGAIN_SECONDS)


def _prompt_that_holds(endpoint: str, text: str) -> str:
    """The newest prompt with this text that the loopback endpoint was sent."""
    answer = httpx.get(f"{endpoint}/_loopback/requests", timeout=10.0, trust_env=False)
    prompts: list[str] = [entry["prompt"] for entry in answer.json()["requests"] if text in (entry["prompt"] or "")]
    return prompts[-1] if prompts else ""
