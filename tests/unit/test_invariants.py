"""The checker of the contract: for each invariant records that keep it, and records that break it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from eldermesh.contract.breach import FORM
from eldermesh.contract.cloudevents import CANCEL
from eldermesh.contract.invariants import breaches
from eldermesh.contract.records import PublicRecord
from tests.contract_records import dead_record, end_record, progress_record, result, submit_record

JOB = str(UUID(int=1))
OTHER = str(UUID(int=2))


def _completed(job_id: str = JOB) -> list[PublicRecord]:
    """A job of three items in two records that kept every promise."""
    return [
        submit_record(job_id, [1, 2, 3]),
        progress_record(job_id, 1, [result(2), result(0)], items_ended=2),
        progress_record(job_id, 2, [result(1)], offset=1, items_ended=3),
        end_record(job_id, succeeded=3, records=2),
    ]


def _numbers(records: list[PublicRecord], *, inbox: bool = True, settled: bool = True, prefix: str = "") -> list[int]:
    found = breaches(records, inbox=inbox, settled=settled, topic_prefix=prefix)
    return sorted({breach.invariant for breach in found})


def test_a_faultless_mesh() -> None:
    """Two finished jobs in any order of records: nothing found, with the inbox and without."""
    records = [*_completed(), *(replace(each, offset=each.offset + 10) for each in _completed(OTHER))]
    random.Random(1).shuffle(records)

    assert breaches(records) == []
    assert breaches([each for each in records if each.topic != "jobs"], inbox=False) == []


def test_no_records() -> None:
    """Nothing was sent, nothing is wrong."""
    assert breaches([]) == []


class TestOneIdOneValue:
    """Invariant 1."""

    def test_holds(self) -> None:
        """Identical repeats of results and of the end are as good as one."""
        submit, first, second, end = _completed()
        again = [replace(each, offset=each.offset + 5) for each in (first, second, end)]
        assert breaches([submit, first, second, end, *again]) == []

    def test_broken_by_an_end(self) -> None:
        """The end is there twice, the second time with other costs."""
        other = end_record(JOB, offset=5, succeeded=3, records=2, cost_usd=0.25)
        assert _numbers([*_completed(), other]) == [1]

    def test_broken_by_results(self) -> None:
        """The same sequence is there twice with different results."""
        other = progress_record(JOB, 2, [result(1, "other")], offset=5, items_ended=3)
        assert _numbers([*_completed(), other]) == [1]


class TestNumbersAddUp:
    """Invariant 2."""

    def test_holds(self) -> None:
        """A cancelled job whose third item was not run; a rejected one that was never ingested."""
        cancelled = end_record(
            JOB,
            succeeded=2,
            records=1,
            status="cancelled",
            error_type="cancelled",
            items_total=3,
            items_not_run=1,
        )
        results = progress_record(JOB, 1, [result(0), result(1)], items_ended=2)
        rejected = end_record(
            OTHER, status="rejected", error_type="rejected", items_total=None, items_not_run=None, offset=1
        )
        submits = [submit_record(JOB, [1, 2, 3]), submit_record(OTHER, [1], offset=1)]
        assert breaches([*submits, results, cancelled, rejected]) == []

    @pytest.mark.parametrize(("total", "not_run"), [(4, 0), (3, 1), (None, None), (3, None)])
    def test_broken(self, total: int | None, not_run: int | None) -> None:
        """Three items succeeded, and the end counts otherwise."""
        end = end_record(JOB, succeeded=3, records=2, items_total=total, items_not_run=not_run)
        assert 2 in _numbers([*_completed()[:3], end])


class TestSequencesWithoutGaps:
    """Invariant 3."""

    def test_holds(self) -> None:
        """Sequences that arrive in another order, and once more."""
        submit, first, second, end = _completed()
        assert (
            breaches([submit, replace(second, offset=0), replace(first, offset=1), replace(second, offset=2), end])
            == []
        )

    def test_broken_by_a_gap(self) -> None:
        """1 and 3 are there, 2 never was; also while the job still runs."""
        records = [_completed()[0], progress_record(JOB, 1, [result(0)]), progress_record(JOB, 3, [result(2)])]
        assert _numbers(records, settled=False) == [3]
        assert 3 in _numbers([*records, end_record(JOB, succeeded=3, records=3)])

    def test_broken_by_one_too_many(self) -> None:
        """A third record, although the end says that there are two."""
        late = progress_record(JOB, 3, [result(3)], items_ended=4)
        assert 3 in _numbers([*_completed(), late])


class TestEachItemOnce:
    """Invariant 4."""

    def test_holds(self) -> None:
        """The same index in two stages is two items; failed and succeeded ones are counted apart."""
        failed = result(0, status="failed", error_type="exception", error_message="no")
        records = [
            submit_record(JOB, [1], max_failed_items=1),
            progress_record(JOB, 1, [result(0)], items_ended=1),
            progress_record(JOB, 2, [failed], offset=1, stage_index=1, items_ended=2),
            end_record(JOB, succeeded=1, records=2, items_failed=1, items_total=2),
        ]
        assert breaches(records) == []

    def test_broken_by_an_item_twice(self) -> None:
        """Item 0 is in both records."""
        again = progress_record(JOB, 2, [result(0)], offset=1, items_ended=2)
        assert 4 in _numbers([*_completed()[:2], again, end_record(JOB, succeeded=3, records=2)])

    def test_broken_by_a_wrong_count(self) -> None:
        """The end counts two failed items where the results show none."""
        end = end_record(JOB, succeeded=1, records=2, items_failed=2, items_total=3, status="failed", error_type="idle")
        assert _numbers([*_completed()[:3], end]) == [4]

    def test_broken_by_an_item_that_the_job_has_not(self) -> None:
        """Index 3 in a job of three items."""
        beyond = progress_record(JOB, 2, [result(3)], offset=1, items_ended=3)
        assert _numbers([*_completed()[:2], beyond, _completed()[3]]) == [4]

    def test_broken_by_items_ended(self) -> None:
        """A record counts the items so far, and counts wrongly."""
        wrong = progress_record(JOB, 2, [result(1)], offset=1, items_ended=2)
        assert _numbers([*_completed()[:2], wrong, _completed()[3]]) == [4]


def _with_failures(failures: int, allowed: int, **fields: Any) -> list[PublicRecord]:
    results = [
        result(0, **({"status": "failed", "error_type": "exception"} if failures > 0 else {})),
        result(1, **({"status": "failed", "error_type": "exception"} if failures > 1 else {})),
    ]
    end = end_record(JOB, succeeded=2 - failures, records=1, items_failed=failures, items_total=2, **fields)
    submit = submit_record(JOB, [1, 2], max_failed_items=allowed)
    return [submit, progress_record(JOB, 1, results, items_ended=2), end]


class TestCompletedExactlyWhen:
    """Invariant 5."""

    def test_holds(self) -> None:
        """As many failures as allowed complete a job, one more fails it."""
        assert breaches(_with_failures(1, 1)) == []
        assert breaches(_with_failures(2, 1, status="failed", error_type="too_many_failures")) == []

    def test_broken_by_a_completed_job(self) -> None:
        """Completed with two failures where one is allowed; completed with an item that was not run."""
        assert _numbers(_with_failures(2, 1)) == [5]
        end = end_record(JOB, succeeded=3, records=2, items_total=4, items_not_run=1)
        assert _numbers([*_completed()[:3], end]) == [5]

    def test_broken_by_a_failed_job(self) -> None:
        """Failed, although all items ran and no more failed than may."""
        assert _numbers(_with_failures(1, 1, status="failed", error_type="too_many_failures")) == [5]

    def test_without_the_inbox(self) -> None:
        """Nobody knows how many may fail, so one failure proves nothing; none at all does."""
        failed = _with_failures(1, 1, status="failed", error_type="too_many_failures")[1:]
        assert _numbers(failed, inbox=False) == []
        assert _numbers(_with_failures(0, 0, status="failed", error_type="expired")[1:], inbox=False) == [5]


class TestRejected:
    """Invariant 6."""

    def test_holds(self) -> None:
        """Rejected before it ran: nothing was run, no progress."""
        end = end_record(JOB, status="rejected", error_type="rejected", items_total=3, items_not_run=3)
        assert breaches([submit_record(JOB, [1, 2, 3]), end]) == []

    def test_broken(self) -> None:
        """Rejected, and yet there is a result."""
        end = end_record(
            JOB, status="rejected", error_type="rejected", succeeded=1, records=1, items_total=3, items_not_run=2
        )
        assert _numbers([submit_record(JOB, [1, 2, 3]), progress_record(JOB, 1, [result(0)]), end]) == [6]


class TestNoOrderBetweenTopics:
    """Invariant 7."""

    def test_holds(self) -> None:
        """The end is read long before the results; and before they all came nothing is wrong yet."""
        submit, first, second, end = _completed()
        assert breaches([end, submit, second, first]) == []
        assert breaches([end, submit, first], settled=False) == []

    def test_broken(self) -> None:
        """Nothing is under way any more, and who waits for `progress_records_total` waits for ever."""
        submit, first, _, end = _completed()
        assert _numbers([submit, first, end]) == [7]


class TestLedger:
    """Invariant 8."""

    def test_holds_for_repeats_and_refusals(self) -> None:
        """A repeat, a conflict and an invalid record beside the job; all that are no submit of it are dead."""
        conflict = submit_record(JOB, [7], offset=2)
        invalid = PublicRecord("jobs", 0, 3, None, (("ce_type", b"nonsense"), ("x", None)), b"{")
        refused = submit_record(OTHER, [1], offset=4, engine="ray")
        cancel = PublicRecord("jobs", 0, 5, None, (("ce_type", CANCEL.encode()),), f'{{"job_id":"{JOB}"}}'.encode())
        records = [
            *_completed(),
            submit_record(JOB, [1, 2, 3], offset=1, tenant="default"),
            *(conflict, dead_record(conflict, "conflict", prefix="p.")),
            *(invalid, dead_record(invalid, "invalid", prefix="p.")),
            *(refused, dead_record(refused, "invalid", prefix="p.")),
            cancel,
        ]
        assert breaches(records, topic_prefix="p.") == []

    def test_inboxes_of_tenants_are_inboxes(self) -> None:
        """A job from there is accounted for like any other, and a submit or a letter that is missing is missed."""
        submit, *results_and_end = _completed()
        there = replace(submit, topic="jobs.team")
        foreign = submit_record(OTHER, [1], offset=1, inbox="jobs.team", tenant="other")
        letter = dead_record(foreign, "invalid", prefix="p.")
        assert breaches([there, *results_and_end, foreign, letter], topic_prefix="p.") == []
        assert _numbers([there, *results_and_end, foreign], prefix="p.") == [8]
        assert _numbers([there, *results_and_end, letter], prefix="p.") == [FORM]
        assert _numbers([there], prefix="p.") == [8]

    def test_broken_by_a_lost_submit(self) -> None:
        """Neither an end nor a dead letter; while work is under way that is no breach yet."""
        records = [*_completed(), submit_record(OTHER, [1], offset=1)]
        assert _numbers(records) == [8]
        assert _numbers(records, settled=False) == []

    def test_broken_by_an_endless_job(self) -> None:
        """All results are there, the end is not: found even without the inbox."""
        assert _numbers(_completed()[:3]) == [8]
        assert _numbers(_completed()[1:3], inbox=False) == [8]

    def test_broken_by_a_swallowed_record(self) -> None:
        """An undecodable record that nobody sees again."""
        assert _numbers([*_completed(), PublicRecord("jobs", 0, 9, None, (), b"{")]) == [8]

    def test_broken_by_a_swallowed_conflict(self) -> None:
        """Other content under the same id without a dead letter."""
        assert _numbers([*_completed(), submit_record(JOB, [7], offset=2)]) == [8]

    def test_broken_by_a_repeat_called_conflict(self) -> None:
        """The same content again (one default written out) is in jobs.dead as a conflict."""
        repeat = submit_record(JOB, [1, 2, 3], offset=2, priority="normal")
        assert _numbers([*_completed(), repeat, dead_record(repeat, "conflict")]) == [8]

    def test_broken_by_a_job_from_nowhere(self) -> None:
        """A job that nobody submitted, and one that was refused and ran all the same."""
        assert _numbers(_completed()[1:]) == [8]
        assert _numbers([*_completed(), dead_record(_completed()[0], "invalid")]) == [8]


class TestForm:
    """What every single record has to look like."""

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("ce_id", b"something"),
            ("ce_type", b"eldermesh.job.failed.v1"),
            ("ce_specversion", b"0.3"),
            ("ce_source", b""),
            ("ce_subject", OTHER.encode()),
            ("ce_time", b"2026-11-23T09:26:39Z"),
            ("ce_time", b"2026-13-23T09:26:39.123Z"),
            ("content-type", b"text/plain"),
            ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("traceparent", None),
        ],
    )
    @pytest.mark.parametrize("which", [1, 3])
    def test_headers(self, which: int, header: str, value: bytes | None) -> None:
        """Each header of a result and of an end matters."""
        records = _completed()
        named = tuple((name, value if name == header else old) for name, old in records[which].headers)
        records[which] = replace(records[which], headers=named)
        assert FORM in _numbers(records)

    @pytest.mark.parametrize("which", [1, 3])
    def test_key(self, which: int) -> None:
        """The key is the job id."""
        records = _completed()
        records[which] = replace(records[which], key=OTHER.encode())
        assert _numbers(records) == [FORM]

    @pytest.mark.parametrize(
        ("which", "old", "new"),
        [
            (1, b'"worker_id": "worker-1", ', b""),
            (1, b'"output_url": null, ', b""),
            (1, b'"attempt": 1', b'"attempt": "1"'),
            (1, b'"status": "succeeded"', b'"status": "fine"'),
            (1, b'"error_type": null', b'"error_type": "exception"'),
            (1, b'"duration_seconds": 0.01', b'"duration_seconds": -1'),
            (1, b'"recorded_at": "', b'"recorded_at": "at '),
            (3, b'"reason": null, ', b""),
            (3, b'"labels": {}', b'"labels": []'),
            (3, b'"active_seconds": 1.5', b'"active_seconds": -1.5'),
            (3, b'"ended_at": "2026', b'"ended_at": "2025'),
            (3, b'"error_type": null', b'"error_type": "exception"'),
            (3, b'"trace_id": "', b'"trace_id": "x'),
            (3, b"{", b"[{"),
        ],
    )
    def test_fields(self, which: int, old: bytes, new: bytes) -> None:
        """A missing field (null is not missing), a wrong type, a contradiction within the record, no JSON."""
        records = _completed()
        value = records[which].value or b""
        assert old in value
        records[which] = replace(records[which], value=value.replace(old, new, 1))
        assert FORM in _numbers(records)

    def test_new_fields_are_no_breach(self) -> None:
        """The contract may be extended."""
        records = _completed()
        value = records[3].value or b""
        records[3] = replace(records[3], value=value.replace(b"{", b'{"later": 1, ', 1))
        assert breaches(records) == []

    def test_large_floats(self) -> None:
        """The canonical form writes the float 1e20 with all its digits; that is no integer out of range."""
        records = _completed()
        value = records[2].value or b""
        records[2] = replace(records[2], value=value.replace(b'"output": null', b'"output": 100000000000000000000'))
        assert breaches(records) == []
        records[2] = replace(records[2], value=value.replace(b'"output": null', b'"output": 100000000000000000001'))
        assert FORM in _numbers(records)

    def test_dead_letters(self) -> None:
        """They carry the original's bytes, key and headers, and tell of a record that exists."""
        original = PublicRecord("jobs", 0, 7, b"key", (("mine", b"1"),), b"{")
        letter = dead_record(original, "undecodable")
        without = tuple(header for header in letter.headers if header[0] != "mine")
        spoiled = [
            replace(letter, value=b"{}"),
            replace(letter, headers=without),
            replace(letter, headers=tuple(header for header in letter.headers if header[0] != "dlq_key")),
            dead_record(replace(original, offset=8), "undecodable"),
            replace(letter, headers=()),
        ]
        assert breaches([original, letter]) == []
        for each in spoiled:
            assert FORM in _numbers([original, each])

    def test_a_truncated_dead_letter_says_so(self) -> None:
        """Where not even jobs.dead takes the record whole, a header tells its length."""
        original = PublicRecord("jobs", 0, 7, b"key", (("mine", b"1"),), b"[" * 2_000_000)
        letter = dead_record(original, "undecodable")
        shortened = replace(letter, value=b"[" * 65_536, headers=(*letter.headers, ("dlq_truncated_bytes", b"2000000")))
        assert breaches([original, shortened]) == []
