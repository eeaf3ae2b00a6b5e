"""Admission's judgement, record by record: ids, terms, times, trace, and the reasons of what is refused."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN

from eldermesh.contract.commands import JobCancel, JobDecide, JobSubmit
from eldermesh.contract.ids import trace_id_of
from eldermesh.contract.vocabulary import DeadLetterType
from services.router.admission.commands import Admitted, JobAdmission, decided_fact
from services.router.admission.submit import accepted_fact
from shared.consumer.invalid_reason import MAX_ERRORS
from shared.consumer.record import LOG_APPEND_TIME, ConsumedRecord, submitted_at
from shared.errors import DeadLetterError
from shared.facts.jobs import JobAccepted
from shared.kafka.clients import make_producer
from shared.kafka.service_producer import Producer
from shared.settings import Settings
from shared.telemetry.propagation import fact_trace, trace_of_job_id
from shared.workloads import WorkloadRegistry
from tests.inboxes import Sent
from tests.malformed import FUNCTION, Malformed, job, malformed

JOB_ID = "0190c0de-0000-7000-8000-000000000001"
OF_THE_KEY = "4f970e3e-d1a3-5d45-8587-591465c16100"
OF_THE_EVENT = "882a6e5e-1abd-5bea-9777-db23cace2f2b"
OF_THE_RECORD = "9709a93a-2d92-5444-90cb-9c0c4237e7b1"
NOW_MS = 1_795_000_000_000
DAY_MS = 24 * 3600 * 1000
PREFIX = "here."


@pytest.fixture
def settings() -> Settings:
    """Settings with a prefix."""
    return Settings(topic_prefix=PREFIX, broker_profile="embedded", _env_file=None)


@pytest.fixture
def admission(settings: Settings) -> JobAdmission:
    """Admission without a broker: it only judges."""
    return JobAdmission(settings, make_producer(settings), WorkloadRegistry.installed())


def received(sent: Sent, *, inbox: str = "jobs", offset: int = 1042, **fields: Any) -> ConsumedRecord:
    """A record as it comes out of partition 3 of an inbox."""
    values: dict[str, Any] = {
        "topic": f"{PREFIX}{inbox}",
        "inbox": inbox,
        "partition": 3,
        "offset": offset,
        "timestamp_ms": NOW_MS,
        "timestamp_type": 0,
        "key": sent.key,
        "value": sent.value,
        "headers": sent.headers,
    }
    return ConsumedRecord(**(values | fields))


def refusal(admission: JobAdmission, record: ConsumedRecord) -> DeadLetterError:
    """Why a record is refused."""
    with pytest.raises(DeadLetterError) as caught:
        admission.decode(record)
    return caught.value


def fact_of(admission: JobAdmission, settings: Settings, record: ConsumedRecord) -> JobAccepted:
    """The fact that a good submit becomes."""
    admitted = admission.decode(record)
    assert isinstance(admitted.command, JobSubmit)
    context = trace_of_job_id(admitted.job_id)
    return accepted_fact(admitted.command, admitted.content_hash, record, settings, context, now_ms=NOW_MS)


class TestRefusals:
    @pytest.mark.parametrize("each", [pytest.param(each, id=f"{n}") for n, each in enumerate(malformed())])
    def test_every_malformed_record_is_refused_with_its_reason(self, admission: JobAdmission, each: Malformed) -> None:
        """The error type, a reason of one bounded line, and the job's id where it can be read."""
        error = refusal(admission, received(each.sent))
        assert error.error_type == each.error_type
        assert each.reason in error.reason
        assert "\n" not in error.reason
        assert len(error.reason) < 1000
        if each.job_id is not None:
            assert error.job_id == each.job_id

    def test_a_reason_does_not_repeat_what_was_sent(self, admission: JobAdmission) -> None:
        """Values may be secret: only names of fields are repeated, cut and made printable."""
        secret = "hunter2-hunter2"
        spoiled: list[dict[str, Any]] = [
            {"priority": secret},
            {"labels": {"a": [secret]}},
            {"items": secret},
            {"max_failed_items": secret},
        ]
        for fields in spoiled:
            assert secret not in refusal(admission, received(Sent(job(**fields)))).reason
        reason = refusal(admission, received(Sent(job(**{"a\nb" + "c" * 100: 1})))).reason
        assert reason.startswith("a\N{REPLACEMENT CHARACTER}bccc")
        assert reason.endswith("…: unknown field")

    def test_many_errors_are_counted(self, admission: JobAdmission) -> None:
        """The first few are told, the others counted."""
        reason = refusal(admission, received(Sent(job(a=1, b=1, c=1, d=1, e=1)))).reason
        assert reason.count("unknown field") == MAX_ERRORS
        assert reason.endswith("; and 2 more")

    @pytest.mark.parametrize("failure", [ImportError("no such module"), SystemExit(3), KeyboardInterrupt()])
    async def test_a_workload_that_fails_to_judge(self, settings: Settings, failure: BaseException) -> None:
        """Its mistake concerns the jobs that name it: a dead letter `internal`, not the end of admission."""

        def broken() -> Any:
            raise failure

        admission = JobAdmission(settings, make_producer(settings), WorkloadRegistry({"odd": broken}))
        error = refusal(admission, received(Sent(job(workload="odd", job_id=JOB_ID))))
        assert (error.error_type, error.job_id) == ("internal", JOB_ID)
        assert "odd" in error.reason

    def test_a_workload_with_a_word_of_its_own(self, settings: Settings) -> None:
        """Readers of `jobs.dead` would take a letter with it for none: it counts as `internal`; the reason stays."""
        admission = JobAdmission(settings, make_producer(settings), WorkloadRegistry({"odd": cast("Any", _Wordy)}))
        error = refusal(admission, received(Sent(job(workload="odd", job_id=JOB_ID))))
        assert (error.error_type, error.reason, error.job_id) == ("internal", "not today", JOB_ID)

    @pytest.mark.parametrize(
        ("reason", "told"),
        [
            ("", "workload odd refused it and gave no reason"),
            (" \n", "workload odd refused it and gave no reason"),
            ("no \ud83d\ude00, no \ud83d", "no \N{GRINNING FACE}, no ?"),
        ],
    )
    def test_a_workload_without_a_reason_that_can_be_read(self, settings: Settings, reason: str, told: str) -> None:
        """The sender learns who refused; halves of characters, which no record can hold, are question marks."""
        odd = WorkloadRegistry({"odd": lambda: cast("Any", _Wordy("invalid", reason))})
        admission = JobAdmission(settings, make_producer(settings), odd)
        error = refusal(admission, received(Sent(job(workload="odd", job_id=JOB_ID))))
        assert (error.error_type, error.reason) == ("invalid", told)


class TestIds:
    @pytest.mark.parametrize(
        ("fields", "headers", "job_id"),
        [
            ({"job_id": JOB_ID, "idempotency_key": "nightly-42"}, {}, JOB_ID),
            (
                {"idempotency_key": "nightly-42"},
                {"ce_id": "x", "ce_source": "y"},
                OF_THE_KEY,
            ),
            ({}, {"ce_source": "/ci/nightly", "ce_id": "run-7"}, OF_THE_EVENT),
            ({}, {}, OF_THE_RECORD),
            ({}, {"ce_id": "run-7"}, OF_THE_RECORD),
            ({}, {"ce_source": "/ci/nightly", "ce_id": ""}, OF_THE_RECORD),
        ],
    )
    def test_given_or_derived(
        self, admission: JobAdmission, fields: dict[str, str], headers: dict[str, str], job_id: str
    ) -> None:
        """The vectors of the contract, in the contract's order; an invalid submit has the id that it would have had."""
        raw = tuple((name, text.encode()) for name, text in headers.items())
        assert admission.decode(received(Sent(job(**fields), headers=raw))).job_id == job_id
        assert refusal(admission, received(Sent(job(**fields, priority="urgent"), headers=raw))).job_id == job_id
        assert refusal(admission, received(Sent(job(**fields, stream=True), headers=raw))).job_id == job_id

    @pytest.mark.parametrize(
        "fields", [{"job_id": 1}, {"idempotency_key": ""}, {"tenant": "A", "idempotency_key": "a"}]
    )
    def test_unknown_when_what_gives_it_is_invalid(self, admission: JobAdmission, fields: dict[str, Any]) -> None:
        """Then the dead letter keeps the original key."""
        assert refusal(admission, received(Sent(job(**fields)))).job_id is None

    def test_tenants_do_not_share_keys(self, admission: JobAdmission) -> None:
        """The same key of two tenants is two jobs."""
        one = admission.decode(received(Sent(job(idempotency_key="a", tenant="one"))))
        two = admission.decode(received(Sent(job(idempotency_key="a", tenant="two"))))
        assert one.job_id != two.job_id

    def test_a_record_that_is_too_large_is_still_found_by_its_id(self, admission: JobAdmission) -> None:
        """Up to a megabyte it is read for that; beyond, the original key has to do."""
        large = job(idempotency_key="nightly-42", items=["x" * 500_000])
        huge = job(idempotency_key="nightly-42", items=["x" * 2_000_000])
        assert refusal(admission, received(Sent(large))).job_id == OF_THE_KEY
        assert refusal(admission, received(Sent(huge))).job_id is None


class TestSizes:
    def test_the_whole_record_counts(self, admission: JobAdmission) -> None:
        """Key, value and headers together may have 256 KiB, and not a byte more."""
        value = job()
        room = 256 * 1024 - len(value) - len("padding") - 10
        admission.decode(received(Sent(value, key=b"k" * 10, headers=(("padding", b"x" * room),))))
        error = refusal(admission, received(Sent(value, key=b"k" * 10, headers=(("padding", b"x" * (room + 1)),))))
        assert error.error_type == "too_large"


class TestTerms:
    def test_what_the_history_keeps_of_a_submit(self, admission: JobAdmission, settings: Settings) -> None:
        """Every field, in the history's units, beside the record itself, byte by byte."""
        value = job(
            tenant="team",
            submitted_by="me",
            labels={"a": "b"},
            priority="batch",
            engine="celery",
            advice="none",
            active_timeout_seconds=1.5,
            expires_after_seconds=60,
            item_timeout_seconds=0.0001,
            max_cost_usd=0.25,
            max_failed_items=1,
            items=[1, 2],
        )
        headers = (("x", b"\xff"), ("x", None))
        fact = fact_of(admission, settings, received(Sent(value, key=b"\x00key", headers=headers)))

        assert fact.terms.model_dump() == {
            "workload": "python",
            "tenant": "team",
            "submitted_by": "me",
            "labels": {"a": "b"},
            "priority": "batch",
            "engine": "celery",
            "advice": "none",
            "advise_within_ms": 0,
            "active_timeout_ms": 1500,
            "expires_after_ms": 60_000,
            "item_timeout_ms": 1,
            "max_cost_micros": 250_000,
            "max_failed_items": 1,
            "stream": False,
            "subject": "math:sqrt",
        }
        assert fact.inbox.coordinates == f"{PREFIX}jobs/3/1042"
        assert base64.b64decode(fact.inbox_key_base64 or "") == b"\x00key"
        assert [(name, base64.b64decode(raw)) for name, raw in fact.inbox_headers_base64] == [
            ("x", b"\xff"),
            ("x", b""),
        ]
        assert fact.original.encode() == value
        assert (fact.items_total, fact.submitted_at) == (2, NOW_MS)

    @pytest.mark.parametrize(("asked", "given"), [(None, 7 * DAY_MS), (8 * 86400, 7 * DAY_MS), (1, 1000)])
    def test_no_job_lives_longer_than_the_mesh_allows(
        self, admission: JobAdmission, settings: Settings, asked: float | None, given: int
    ) -> None:
        """`expires_after_seconds` is capped by `max_job_age_seconds`, which is also its default."""
        fields = {} if asked is None else {"expires_after_seconds": asked}
        assert fact_of(admission, settings, received(Sent(job(**fields)))).terms.expires_after_ms == given

    def test_a_redelivered_record_gives_the_same_submit(self, admission: JobAdmission, settings: Settings) -> None:
        """The same content hash and coordinates, also from another publisher's spelling of the same content."""
        first = fact_of(admission, settings, received(Sent(job())))
        again = fact_of(admission, settings, received(Sent(job())))
        spelled = json.dumps(
            {"items": [4.0], "options": FUNCTION, "workload": "python", "priority": "normal"}, indent=1
        )
        other = fact_of(admission, settings, received(Sent(spelled.encode()), offset=7))
        assert (again.content_hash, again.inbox) == (first.content_hash, first.inbox)
        assert other.content_hash == first.content_hash
        assert other.inbox != first.inbox

    @pytest.mark.parametrize(
        ("claimed", "type_", "at"),
        [
            (NOW_MS - 5000, 0, NOW_MS - 5000),
            (NOW_MS - 7 * DAY_MS, 0, NOW_MS - 7 * DAY_MS),
            (NOW_MS + 1, 0, NOW_MS),
            (2**62, 0, NOW_MS),
            (-1, 0, NOW_MS),
            (0, 0, NOW_MS),
            (NOW_MS + 1, LOG_APPEND_TIME, NOW_MS + 1),
        ],
    )
    def test_times_that_cannot_be_true_count_as_now(self, claimed: int, type_: int, at: int) -> None:
        """The publisher sets a record's time, and may set anything; only the broker's word is taken as it is."""
        record = received(Sent(job()), timestamp_ms=claimed, timestamp_type=type_)
        assert submitted_at(record, NOW_MS) == at


class TestCommands:
    def test_cancel(self, admission: JobAdmission) -> None:
        """A cancel is for the job it names."""
        value = json.dumps({"job_id": JOB_ID, "reason": "enough"}).encode()
        sent = Sent(value, headers=(("ce_type", b"eldermesh.job.cancel.v1"),))
        assert admission.decode(received(sent)) == Admitted(JOB_ID, JobCancel(job_id=JOB_ID, reason="enough"))
        assert "enough" not in repr(admission.decode(received(sent)))

    def test_decisions(self, admission: JobAdmission) -> None:
        """On their own topic the type need not be said; the fact keeps all that a dead letter of it needs."""
        value = json.dumps({"job_id": JOB_ID, "decision": "approve", "by": "me"}).encode()
        record = received(Sent(value, key=b"k", headers=(("x", b"1"),)), inbox="jobs.decisions")
        admitted = admission.decode(record)
        assert isinstance(admitted.command, JobDecide)
        assert admitted == Admitted(JOB_ID, JobDecide(job_id=JOB_ID, decision="approve", by="me"))
        fact = decided_fact(admitted.command, record)
        assert (fact.decision, fact.by, fact.reason, fact.original) == ("approve", "me", None, value.decode())
        assert fact.inbox.coordinates == f"{PREFIX}jobs.decisions/3/1042"
        assert (fact.inbox_key_base64, fact.inbox_headers_base64) == ("aw==", (("x", "MQ=="),))

    def test_decisions_do_not_belong_on_the_inbox_of_jobs(self, admission: JobAdmission) -> None:
        """The ACL of their own topic would guard nothing."""
        value = json.dumps({"job_id": JOB_ID, "decision": "approve", "by": "me"}).encode()
        error = refusal(admission, received(Sent(value, headers=(("ce_type", b"eldermesh.job.decide.v1"),))))
        assert (error.error_type, error.job_id) == ("invalid", JOB_ID)
        assert "does not belong on jobs" in error.reason

    @pytest.mark.parametrize("fields", [{"by": ""}, {"decision": "maybe"}, {"job_id": JOB_ID.upper()}, {"extra": 1}])
    def test_decisions_that_are_none(self, admission: JobAdmission, fields: dict[str, Any]) -> None:
        """Nobody's, undecided, of no job, or with more than a decision says."""
        value = {"job_id": JOB_ID, "decision": "approve", "by": "me"} | fields
        error = refusal(admission, received(Sent(json.dumps(value).encode()), inbox="jobs.decisions"))
        assert error.error_type == "invalid"

    @pytest.mark.parametrize("command", ["eldermesh.job.submit.v1", "eldermesh.job.cancel.v1"])
    def test_only_decisions_belong_on_the_topic_of_decisions(self, admission: JobAdmission, command: str) -> None:
        """Its ACL guards decisions; nothing else gets in that way."""
        sent = Sent(job(job_id=JOB_ID), headers=(("ce_type", command.encode()),))
        error = refusal(admission, received(sent, inbox="jobs.decisions"))
        assert (error.error_type, error.job_id) == ("invalid", JOB_ID)
        assert "jobs.decisions" in error.reason


@pytest.fixture
def of_team(settings: Settings) -> JobAdmission:
    """Admission of the inbox of tenant `team`."""
    return JobAdmission(settings, make_producer(settings), WorkloadRegistry.installed(), tenant_of_inbox="team")


class TestInboxOfATenant:
    def test_whoever_names_no_tenant_is_this_one(self, of_team: JobAdmission, admission: JobAdmission) -> None:
        """It is the same submit as one that says so, and as one on `jobs` that does."""
        unnamed = of_team.decode(received(Sent(job(idempotency_key="k")), inbox="jobs.team"))
        named = of_team.decode(received(Sent(job(idempotency_key="k", tenant="team")), inbox="jobs.team"))
        elsewhere = admission.decode(received(Sent(job(idempotency_key="k", tenant="team"))))
        assert isinstance(unnamed.command, JobSubmit)
        assert unnamed.command.tenant == "team"
        assert unnamed == named == elsewhere

    def test_another_tenant_is_refused(self, of_team: JobAdmission) -> None:
        """The default of `jobs`, too, where it is named."""
        for tenant in ("other", "default"):
            error = refusal(of_team, received(Sent(job(tenant=tenant)), inbox="jobs.team"))
            assert error.error_type == "invalid"
            assert error.reason == "tenant: this inbox is for tenant team only"

    def test_an_invalid_submit_has_the_id_of_this_tenant(self, of_team: JobAdmission) -> None:
        """So that its sender finds the dead letter."""
        good = of_team.decode(received(Sent(job(idempotency_key="k")), inbox="jobs.team"))
        error = refusal(of_team, received(Sent(job(idempotency_key="k", items=[])), inbox="jobs.team"))
        assert error.job_id == good.job_id
        large = refusal(of_team, received(Sent(job(idempotency_key="k", items=["x" * 300_000])), inbox="jobs.team"))
        assert (large.error_type, large.job_id) == ("too_large", good.job_id)

    def test_nobody_takes_the_id_of_another_tenants_key(self, of_team: JobAdmission) -> None:
        """An id of version 5 has to come from this submit; others are free, as on `jobs`."""
        error = refusal(of_team, received(Sent(job(job_id=OF_THE_KEY)), inbox="jobs.team"))
        assert (error.error_type, error.job_id) == ("invalid", OF_THE_KEY)
        assert error.reason.startswith("job_id: in the inbox of a tenant")
        own = of_team.decode(received(Sent(job(idempotency_key="k")), inbox="jobs.team")).job_id
        assert of_team.decode(received(Sent(job(idempotency_key="k", job_id=own)), inbox="jobs.team")).job_id == own
        assert of_team.decode(received(Sent(job(job_id=JOB_ID)), inbox="jobs.team")).job_id == JOB_ID

    def test_a_decision_does_not_belong_there(self, of_team: JobAdmission) -> None:
        """The ACL of `jobs.decisions` alone says who decides."""
        value = b'{"job_id": "%s", "decision": "approve", "by": "ann"}' % JOB_ID.encode()
        sent = Sent(value, headers=(("ce_type", b"eldermesh.job.decide.v1"),))
        error = refusal(of_team, received(sent, inbox="jobs.team"))
        assert (error.error_type, error.job_id) == ("invalid", JOB_ID)
        assert error.reason == "header ce_type: eldermesh.job.decide.v1 does not belong on jobs.team"

    def test_a_cancel_is_judged_by_whose_job_it_is(self, of_team: JobAdmission) -> None:
        """Which only the history knows: here it is valid."""
        sent = Sent(b'{"job_id": "%s"}' % JOB_ID.encode(), headers=(("ce_type", b"eldermesh.job.cancel.v1"),))
        decoded = of_team.decode(received(sent, inbox="jobs.team"))
        assert decoded.command == JobCancel(job_id=JOB_ID)


class TestTrace:
    def test_without_telemetry_the_jobs_id_gives_it(self) -> None:
        """A valid context, the same each time; the nil UUID is no trace id and gets another."""
        context = fact_trace(INVALID_SPAN, JOB_ID)
        assert context == fact_trace(INVALID_SPAN, JOB_ID)
        version, trace_id, span_id, flags = context.traceparent.split("-")
        assert (version, trace_id, flags) == ("00", trace_id_of(JOB_ID), "01")
        assert int(span_id, 16)
        nil = fact_trace(INVALID_SPAN, "00000000-0000-0000-0000-000000000000")
        assert int(nil.trace_id, 16)
        assert nil.traceparent.split("-")[1] == nil.trace_id

    def test_with_telemetry_the_span_gives_it(self) -> None:
        """Trace id and parent are those of the span."""
        span = TracerProvider().get_tracer("tests").start_span("accept job")
        context = fact_trace(span, JOB_ID)
        assert context.trace_id == f"{span.get_span_context().trace_id:032x}"
        assert context.traceparent.startswith(f"00-{context.trace_id}-{span.get_span_context().span_id:016x}-")

    def test_a_job_without_a_context_begins_the_trace_of_its_id(self, admission: JobAdmission) -> None:
        """So its trace is found from its id alone."""
        assert admission.root_trace_id(admission.decode(received(Sent(job(job_id=JOB_ID))))) == trace_id_of(JOB_ID)


async def test_what_is_dear_of_a_submit_is_done_where_it_is_judged(
    admission: JobAdmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large records are judged on a thread; on the event loop only the fact is made and sent."""
    sent: list[bytes] = []

    async def take(_producer: Producer, _topic: str, value: bytes, **_: object) -> None:
        sent.append(value)

    record = received(Sent(job(job_id=JOB_ID)))
    decoded = admission.decode(record)
    expected = cast("JobSubmit", decoded.command).content_hash()
    monkeypatch.setattr(JobSubmit, "content_hash", None)  # whoever asks for it now fails
    monkeypatch.setattr(Producer, "send_and_wait", take)
    await admission.handle(record, decoded)
    assert [json.loads(value)["content_hash"] for value in sent] == [expected]


class _Wordy:
    """A workload that refuses in its own words: at first with one that is none of the contract's."""

    name = "odd"

    def __init__(self, error_type: str = "closed", reason: str = "not today") -> None:
        self._refusal = DeadLetterError(cast("DeadLetterType", error_type), reason)

    def validate(self, *_: object) -> None:
        raise self._refusal
