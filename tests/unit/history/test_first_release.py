"""Histories that the first release wrote, and what its folds published of them, are folded the same today.

`tests/data/first_release_histories.jsonl` was made by the code of that release: each line is a fact of a story, with
the public records that the fold called for, and the end that stood in the state then and was not marked.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.claude_exec.requests.machine import RequestMachine
from services.notifier.notifications.machine import NotificationMachine
from services.router.jobs.machine import JobMachine
from shared.history.facts import FactRecord
from shared.history.machine import EndDue, Folded, Publication

_LINES = (Path(__file__).parents[2] / "data" / "first_release_histories.jsonl").read_bytes().splitlines()
MACHINES: dict[str, Any] = {
    "jobs": JobMachine(),
    "claude": RequestMachine(),
    "notifications": NotificationMachine("t.notifications", 2),
}
_T0 = 1_790_000_000_000


def _stories() -> dict[str, list[dict[str, Any]]]:
    stories: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in _LINES:
        fact = orjson.loads(line)
        stories[fact["story"]].append(fact)
    return stories


STORIES = _stories()


def _told(publication: Publication) -> dict[str, Any]:
    headers = [[name, value.decode("latin-1")] for name, value in publication.headers]
    value = publication.value.decode()
    return {"topic": publication.topic, "key": publication.key, "value": value, "headers": headers}


def _published(folded: Folded[Any]) -> list[dict[str, Any]]:
    records = (folded.progress, folded.conflict, *folded.announcements)
    return [_told(record) for record in records if record is not None]


@pytest.mark.parametrize("name", list(STORIES))
def test_what_is_published_of_a_history_of_the_first_release(name: str) -> None:
    """Byte by byte, fact by fact: a rebuild may publish again what that release published, under the same ids."""
    state: Any = None
    for offset, fact in enumerate(STORIES[name]):
        machine = MACHINES[fact["history"]]
        value = fact["value"].encode()
        folded = machine.fold(state, FactRecord(offset, fact["time_ms"], fact["key"], fact["fact_type"], value))
        assert _published(folded) == fact["published"], f"fact {offset}: {fact['fact_type']}"
        state = folded.state
        assert state is not None
        assert state.fold_version == 1
        ends = [due for due in machine.due(state, _T0) if isinstance(due, EndDue)]
        assert [_told(end.publication) for end in ends] == ([] if fact["end"] is None else [fact["end"]])


def test_the_stories_have_every_fact_of_that_release() -> None:
    """And each kind of history has ends and public records."""
    facts = {fact["fact_type"] for story in STORIES.values() for fact in story}
    assert len(facts) == 27
    for history in MACHINES:
        of_history = [fact for story in STORIES.values() for fact in story if fact["history"] == history]
        assert any(fact["end"] for fact in of_history)
