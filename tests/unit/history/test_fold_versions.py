"""A subject is folded by the version it was accepted under; one that this release does not have is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from services.claude_exec.requests.machine import RequestMachine
from services.notifier.notifications.machine import NotificationMachine
from services.router.jobs.machine import JobMachine
from shared.facts.claude import ClaudeCancelRequested
from shared.facts.fact import Fact, InboxRecord
from shared.facts.jobs import JobCancelRequested
from shared.history import fold_versions
from shared.history.facts import FactRecord
from shared.history.keys import FOLD_VERSION
from tests.unit.claude_requests import test_fold as requests
from tests.unit.jobs import story as jobs
from tests.unit.notifier import test_fold as notifications

SUBJECT = "00000000-0000-0000-0000-0000000000aa"
T0 = 1_790_000_000_000
NEWER = FOLD_VERSION + 1
INBOX = InboxRecord(topic="t", partition=0, offset=9)


@dataclass(slots=True)
class Kind:
    """One kind of subject.

    Attributes:
        machine: folds it.
        made: the fact that makes it.
        cancel: a fact that may come before it; None where there is none.
    """

    machine: Any
    made: Callable[[], Fact]
    cancel: Fact | None


JOBS = Kind(JobMachine(), jobs.accepted, JobCancelRequested(inbox=INBOX))
REQUESTS = Kind(RequestMachine(), requests.accepted, ClaudeCancelRequested(inbox=INBOX))
NOTIFICATIONS = Kind(NotificationMachine("t.notifications", 0), notifications.planned, None)
KINDS = pytest.mark.parametrize("kind", [JOBS, REQUESTS, NOTIFICATIONS], ids=["jobs", "requests", "notifications"])


def record(fact: Fact, offset: int, **changes: Any) -> FactRecord:
    """A fact as it stands in the log, perhaps as another release would write it."""
    value = orjson.loads(fact.encode()) | changes
    return FactRecord(offset, T0 + offset, SUBJECT, fact.fact_type, orjson.dumps(value))


def strange(offset: int) -> FactRecord:
    """A fact of a type that this release does not know."""
    return FactRecord(offset, T0 + offset, SUBJECT, "of.a.newer.release", b"\xff")


@KINDS
def test_the_state_keeps_the_version_of_its_acceptance(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the release that folds it; and it survives Redis."""
    monkeypatch.setattr(fold_versions, "FOLD_VERSIONS", {FOLD_VERSION, NEWER})
    for module in ("services.router.jobs", "services.claude_exec.requests", "services.notifier.notifications"):
        monkeypatch.setattr(f"{module}.fold.FOLD_VERSIONS", {FOLD_VERSION, NEWER})
    state = kind.machine.fold(None, record(kind.made(), 0, fold_version=NEWER)).state
    assert state.fold_version == NEWER
    assert kind.machine.decode(kind.machine.encode(state), b"").fold_version == NEWER
    assert state.is_live


@KINDS
def test_a_fact_that_names_no_version_is_of_the_first(kind: Kind) -> None:
    """As the first release wrote it."""
    value = orjson.loads(kind.made().encode())
    value.pop("fold_version", None)
    first = FactRecord(0, T0, SUBJECT, kind.made().fact_type, orjson.dumps(value))
    assert kind.machine.fold(None, first).state.fold_version == 1


@KINDS
def test_a_subject_of_a_newer_release_is_left_alone(kind: Kind) -> None:
    """Whatever comes of it, nothing is published, due, run or refused; nor does it stop the others' owner."""
    made = record(kind.made(), 0, fold_version=NEWER, terms="of another shape", inbox=None)
    folded = kind.machine.fold(None, made)
    for offset, later in enumerate([strange(1), record(kind.made(), 2), record(kind.cancel or kind.made(), 3)], 1):
        assert (folded.progress, folded.conflict, folded.spec, folded.announcements) == (None, None, None, ())
        state = folded.state
        assert (state.fold_version, state.last_offset, state.first_offset) == (NEWER, offset - 1, 0)
        assert not list(kind.machine.due(state, T0 + 10 * jobs.DAY_MS))
        assert not list(kind.machine.chunks(state))
        assert kind.machine.wake_at(state) is None
        assert kind.machine.is_settled(state)
        assert not kind.machine.is_ended(state)
        folded = kind.machine.fold(kind.machine.decode(kind.machine.encode(state), b""), later)
    assert not folded.state.is_live


@pytest.mark.parametrize("kind", [JOBS, REQUESTS], ids=["jobs", "requests"])
def test_a_cancel_that_came_first_changes_nothing_of_that(kind: Kind) -> None:
    """What was known of the id was a cancel; then a newer release accepted it."""
    assert kind.cancel is not None
    stub = kind.machine.fold(None, record(kind.cancel, 0)).state
    folded = kind.machine.fold(stub, record(kind.made(), 1, fold_version=NEWER))
    assert (folded.state.fold_version, folded.state.is_live, folded.state.end) == (NEWER, False, None)


@pytest.mark.parametrize("kind", [JOBS, REQUESTS], ids=["jobs", "requests"])
def test_an_acceptance_by_a_newer_release_of_what_is_known_is_a_repeat(kind: Kind) -> None:
    """The first acceptance makes the subject, and its version stays."""
    state = kind.machine.fold(None, record(kind.made(), 0)).state
    folded = kind.machine.fold(state, record(kind.made(), 1, fold_version=NEWER))
    assert (folded.state.fold_version, folded.state.is_live, folded.conflict) == (FOLD_VERSION, True, None)


def test_a_notification_of_the_first_version_has_the_bytes_that_it_had() -> None:
    """They stand in dead letters, which may be published again by a later release."""
    assert b"fold_version" not in notifications.planned().encode()
