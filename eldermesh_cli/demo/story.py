"""What the demo does, chapter by chapter."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

from eldermesh.contract.ids import job_id_from_key
from eldermesh_cli.demo.directory import DemoPlace
from eldermesh_cli.demo.engine_chapters import EngineChapters
from eldermesh_cli.demo.job_follower import (
    check_completed,
    end_of,
    follow_in_view,
    publish_each,
    spans_of_items,
    spans_without_parent,
    whole_trace,
)
from eldermesh_cli.demo.job_row import JobRow, seconds_text
from eldermesh_cli.demo.people_chapters import PeopleChapters
from eldermesh_cli.demo.screen import Screen
from eldermesh_cli.demo.work import standard_modules
from eldermesh_cli.stack.control import request

_ITEMS = 90
_SHOWN_RESULTS = 10
_FUNCTION = "eldermesh_cli.demo.work:module_complexity"
_MIXED_ITEMS = ("json", "no_such_module", "asyncio", "email", "not_a_module")
_BROKEN = '{"workload": "python", "items": [4, 9], "options": {"function": "math:sqrt"}'
_UNKNOWN_FIELD = '{"workload": "python", "itmes": [4, 9], "options": {"function": "math:sqrt"}}'
_DEAD_SECONDS = 30.0
_MEGABYTE = 1_000_000


class Story:
    """One demo.

    Args:
        screen: where it is told.
        place: where its mesh runs.
        began: `time.monotonic()` at the demo's start.
    """

    def __init__(self, screen: Screen, place: DemoPlace, began: float) -> None:
        self._screen = screen
        self._place = place
        self._mesh = place.mesh
        self._began = began
        self._jobs: list[JobRow] = []
        self._figures: list[tuple[str, str]] = []
        self._bootstrap = ""
        self._trace_url = ""

    def tell(self) -> None:
        """All chapters, in order."""
        self._start()
        job_id = self._publish()
        self._explain(job_id)
        self._bad_items()
        self._dead_letters()
        engines = EngineChapters(self._screen, self._place, self._bootstrap, self._trace_url)
        self._jobs += [engines.prompts(6), engines.large_job(7)]
        people = PeopleChapters(self._screen, self._place, self._bootstrap)
        self._jobs += [people.advised(8), *people.judged(9)]
        people.notified(10)
        self._ledger()
        self._stop()

    def summary(self) -> None:
        """The tables at the end."""
        self._screen.table(
            "Jobs",
            ("job", "engine", "state", "items", "failed", "first result", "whole job"),
            (
                (job.name, job.engine, job.state, job.items, job.failed, job.first_result, job.whole)
                for job in self._jobs
            ),
        )
        self._screen.table("Figures", ("what", "how much"), self._figures)

    def _start(self) -> None:
        screen = self._screen
        screen.chapter(1, "A mesh on this machine")
        screen.say("A broker that speaks Kafka's protocol, Redis, router, Celery workers and a store of traces:")
        status = self._mesh.show("up", "--detach")
        screen.check("the mesh is ready", holds=status == 0, found=f"exit status {status}")
        runtime = self._place.runtime()
        self._bootstrap, self._trace_url = runtime.kafka_bootstrap, str(runtime.trace_query_url)
        told = asyncio.run(request(self._place.data_dir, "ps"))["processes"]
        memory = sum(process["rss_bytes"] for process in told)
        self._figures += [
            ("from the demo's start to a mesh that is ready", seconds_text(time.monotonic() - self._began)),
            (f"memory of the mesh's {len(told)} services", f"{memory / _MEGABYTE:.0f} MB"),
        ]

    def _publish(self) -> str:
        """The job on real data; returns its id."""
        screen = self._screen
        modules = standard_modules(_ITEMS)
        key = f"complexity-{uuid4()}"
        job_id = job_id_from_key("default", key)
        record: dict[str, object] = {
            "workload": "python",
            "options": {"function": _FUNCTION},
            "items": modules,
            "idempotency_key": key,
        }
        screen.chapter(2, "A job from a plain Kafka client")
        screen.say(
            f"Parse {len(modules)} modules of Python's standard library and count how complex they are. Any Kafka "
            "client will do: this is one record on the topic `jobs`, with no key and no headers, only this JSON:"
        )
        shortened = [*modules[:3], f"… {len(modules) - 4} more …", modules[-1]]
        screen.record(json.dumps({**record, "items": shortened}, ensure_ascii=False))
        screen.say(f"From the key follows the job's id: {job_id}\n")
        followed = follow_in_view(screen, self._bootstrap, job_id, record)
        first_result_after = time.monotonic() - self._began - followed.end_seconds + followed.first_result_seconds
        end, results = followed.end, followed.results
        counted = sorted(
            (result.output for result in results if isinstance(result.output, dict)),
            key=lambda report: -int(str(report["complexity"])),
        )
        columns = ("module", "lines", "functions", "classes", "complexity", "most_complex")
        rows = [[report[column] for column in columns] for report in counted[:_SHOWN_RESULTS]]
        screen.table(f"The {len(rows)} most complex of {len(results)} modules", columns, rows)
        check_completed(screen, end)
        screen.check(
            f"each of the {len(modules)} items has one result",
            holds=[result.item_index for result in results] == list(range(len(modules))),
            found=f"{len(results)} results",
        )
        first = asyncio.run(publish_each(self._bootstrap, json.dumps(record)))[0]
        screen.say(
            f"The same record once more (jobs/{first.partition}/{first.offset}) is the same job: nothing runs again."
        )
        self._jobs.append(JobRow.of("standard library", followed))
        self._figures.append(("from the demo's start to the first result", seconds_text(first_result_after)))
        return job_id

    def _explain(self, job_id: str) -> None:
        """Why it took so long, and its trace."""
        screen = self._screen
        screen.chapter(3, "Where its time went, and its trace")
        self._mesh.show("why", job_id)
        why = self._mesh.ask("why", job_id)
        total = sum(segment["seconds"] for segment in why["segments"])
        screen.check("the segments sum to the whole", holds=abs(total - why["total_seconds"]) < 0.0005, found=total)  # noqa: PLR2004
        trace_id = asyncio.run(end_of(self._bootstrap, job_id)).trace_id
        spans = asyncio.run(whole_trace(self._trace_url, trace_id, _ITEMS))
        screen.say("\nFrom admission through Celery to each item, one trace (the two longest of each kind are drawn):")
        self._mesh.show("trace", job_id, "--alike", "2")
        items, lost = len(spans_of_items(spans)), len(spans_without_parent(spans))
        screen.check(f"the trace has a span of each of the {_ITEMS} items", holds=items == _ITEMS, found=items)
        screen.check("every span's parent is in the trace", holds=lost == 0, found=f"{lost} of {len(spans)} without")
        self._figures.append(("spans in the trace of the first job", str(len(spans))))

    def _bad_items(self) -> None:
        """Modules that do not exist, allowed and not allowed to fail."""
        screen = self._screen
        screen.chapter(4, "Items that fail")
        screen.say("Two of these five modules do not exist. A job says how many of its items may fail:")
        for allowed, expected in ((2, "completed"), (1, "failed")):
            job_id = str(uuid4())
            status = self._mesh.show(
                *("submit", "python", "--function", _FUNCTION, "--job-id", job_id),
                *("--max-failed-items", str(allowed), "--wait", *_MIXED_ITEMS),
            )
            end = asyncio.run(end_of(self._bootstrap, job_id))
            screen.check(
                f"with {allowed} allowed to fail it {expected}, and so says the exit status",
                holds=(end.status, end.items_failed, status) == (expected, 2, 0 if expected == "completed" else 1),
                found=f"{end.status}, {end.items_failed} failed, exit status {status}",
            )
            self._jobs.append(JobRow.of_end(f"{allowed} may fail", end))

    def _dead_letters(self) -> None:
        """Records that are no jobs."""
        screen = self._screen
        screen.chapter(5, "Records that are no jobs")
        screen.say("A bracket is missing in the first, a name is misspelt in the second. Neither stops anything:")
        screen.raw(_BROKEN)
        screen.raw(_UNKNOWN_FIELD)
        published = asyncio.run(publish_each(self._bootstrap, _BROKEN, _UNKNOWN_FIELD))
        letters = self._dead_letters_by_place(len(published))
        self._mesh.show("dlq", "ls")
        for place, expected in zip(published, ("undecodable", "invalid"), strict=True):
            letter = letters.get((place.partition, place.offset), {"error_type": None, "reason": "nothing"})
            screen.check(
                f"jobs/{place.partition}/{place.offset} is a dead letter: {expected}",
                holds=letter["error_type"] == expected,
                found=letter["reason"],
            )
        if letters:
            self._mesh.show("dlq", "show", next(iter(letters.values()))["position"])
        self._figures.append(("dead letters", str(len(letters))))

    def _dead_letters_by_place(self, expected: int) -> dict[tuple[int, int], dict[str, Any]]:
        """The dead letters by where the original lies; as many as are expected, or those that came in time."""
        deadline = time.monotonic() + _DEAD_SECONDS
        while True:
            found = self._mesh.ask("dlq", "ls")["records"]
            if len(found) >= expected or time.monotonic() > deadline:
                return {(letter["partition"], letter["offset"]): letter for letter in found}

    def _ledger(self) -> None:
        """Whether anything was lost."""
        screen = self._screen
        screen.chapter(11, "Was anything lost?")
        status = self._mesh.show("audit", "--wait", "10")
        audit = self._mesh.ask("audit")
        screen.check("the audit finds nothing amiss", holds=status == 0, found=f"exit status {status}")
        accepted, ended = audit["accepted"], audit["ended"]
        screen.check(
            f"{len(self._jobs)} jobs were accepted, the repeated one once, and each has one end",
            holds=accepted == ended == len(self._jobs),
            found=f"{accepted} accepted, {ended} ended",
        )

    def _stop(self) -> None:
        """The end of the mesh."""
        screen = self._screen
        screen.chapter(12, "The end")
        processes = self._place.processes()
        began = time.monotonic()
        status = self._mesh.show("down")
        self._figures.append(("to stop the mesh", seconds_text(time.monotonic() - began)))
        left = [process.pid for process in processes if process.is_alive()]
        screen.check("the mesh has stopped", holds=status == 0, found=f"exit status {status}")
        screen.check(f"none of its {len(processes)} processes is left", holds=not left and bool(processes), found=left)
