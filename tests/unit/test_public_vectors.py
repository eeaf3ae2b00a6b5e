"""Test vectors that others publish: JSONTestSuite, RFC 8785's own, and the scenarios of CloudEvents' Kafka binding.

Vendored below tests/data, each with its licence.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from eldermesh.contract.canonical import canonical_bytes
from eldermesh.contract.ijson import UndecodableJsonError, parse_ijson
from services.claude_exec.requests.admission import RequestAdmission
from services.router.admission.commands import JobAdmission
from shared.errors import DeadLetterError
from shared.kafka.clients import make_producer
from shared.settings import Settings
from shared.workloads import WorkloadRegistry
from tests.unit.consumer.records import consumed

DATA = Path(__file__).parent.parent / "data"
PARSING = {
    each["name"]: base64.b64decode(each["base64"])
    for each in map(json.loads, (DATA / "json_vectors" / "parsing.jsonl").read_text("ascii").splitlines())
} | {
    # The two that are large are written out here.
    "n_structure_100000_opening_arrays": b"[" * 100_000,
    "n_structure_open_array_object": b'[{"":' * 50_000 + b"\n",
}

REFUSED_BY_I_JSON = {"y_object_duplicated_key", "y_object_duplicated_key_and_value"}
"""JSON that RFC 7493 does not allow."""

READ = {"i_number_double_huge_neg_exp", "i_number_real_underflow"}
"""What parsers may do as they like and ours reads: numbers that are almost 0. It refuses all the others."""


def test_the_suite_is_whole() -> None:
    """All of its 318 inputs, of each kind."""
    assert {kind: sum(name.startswith(kind) for name in PARSING) for kind in "yni"} == {"y": 95, "n": 188, "i": 35}


@pytest.mark.parametrize("name", sorted(PARSING))
def test_parsing(name: str) -> None:
    """`y_` is read, `n_` refused, `i_` refused but for two; nothing else is raised, whatever comes."""
    if (name.startswith("y_") and name not in REFUSED_BY_I_JSON) or name in READ:
        assert parse_ijson(PARSING[name]) == json.loads(PARSING[name])
        return
    with pytest.raises(UndecodableJsonError):
        parse_ijson(PARSING[name])


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_canonical_form(name: str) -> None:
    """Parsed by ours and written by ours, it is the published bytes; and so it is, read and written again."""
    vectors = DATA / "canonical_vectors"
    wanted = bytes.fromhex((vectors / f"{name}.hex").read_text("ascii"))
    written = canonical_bytes(parse_ijson((vectors / f"{name}.input.json").read_bytes()))
    assert written == wanted
    assert canonical_bytes(parse_ijson(written)) == wanted


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_of_the_canonical_form(bits: str, text: str) -> None:
    """RFC 8785, appendix B: a double by its bits, and its form."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_bytes(number).decode() == text


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000"])
def test_numbers_without_a_canonical_form(bits: str) -> None:
    """The same appendix: neither NaN nor Infinity has one."""
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical_bytes(struct.unpack(">d", bytes.fromhex(bits))[0])


_JOB = {"workload": "python", "options": {"function": "math:sqrt"}, "items": [4]}
_PROMPT = {"prompt": "hi"}
_BINARY = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"1234-1234-1234"),
    ("ce_source", b"/mycontext/subcontext"),
    ("ce_time", b"2018-04-05T03:56:24Z"),
)


@pytest.fixture(params=["jobs", "claude.requests"])
def inbox(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any], str]:
    """The admission of an inbox, what it takes, and the type of that."""
    settings = Settings(broker_profile="embedded", _env_file=None)
    producer = make_producer(settings)
    if request.param == "jobs":
        return JobAdmission(settings, producer, WorkloadRegistry.installed()), _JOB, "eldermesh.job.submit.v1"
    return RequestAdmission(settings, producer), _PROMPT, "eldermesh.claude.request.v1"


class TestKafkaBinding:
    """CloudEvents, Kafka protocol binding 1.0.2, section 3."""

    @pytest.mark.parametrize("content_type", [b"application/json", b"application/json; charset=utf-8", None])
    @pytest.mark.parametrize("key", [b"partitionkey", None])
    def test_binary_mode(
        self, inbox: tuple[Any, dict[str, Any], str], content_type: bytes | None, key: bytes | None
    ) -> None:
        """3.2: attributes are headers with `ce_`, the value is the data; the key means nothing."""
        admission, data, event_type = inbox
        headers: tuple[tuple[str, bytes], ...] = (*_BINARY, ("ce_type", event_type.encode()), ("ce_ext1", b"value"))
        if content_type is not None:
            headers = (*headers, ("content-type", content_type))
        record = consumed(json.dumps(data).encode(), key=key, headers=headers)
        assert type(admission.decode(record).command).model_validate(data) == admission.decode(record).command

    def test_an_event_of_another_type(self, inbox: tuple[Any, dict[str, Any], str]) -> None:
        """Its type is not one of this inbox."""
        admission, data, _ = inbox
        headers = (*_BINARY, ("ce_type", b"com.example.someevent"))
        with pytest.raises(DeadLetterError, match="ce_type: unknown type"):
            admission.decode(consumed(json.dumps(data).encode(), headers=headers))

    @pytest.mark.parametrize(
        "content_type",
        [
            b"application/cloudevents+json; charset=UTF-8",
            b"application/cloudevents+json",
            b"APPLICATION/CloudEvents+JSON",
            b" application/cloudevents",
            b"application/cloudevents+avro",
            b"application/cloudevents-batch+json",
        ],
    )
    def test_structured_and_batched_mode(self, inbox: tuple[Any, dict[str, Any], str], content_type: bytes) -> None:
        """3.3, told by the content type in any case: `invalid`, and the reason says what to send."""
        admission, data, event_type = inbox
        event: Any = {"specversion": "1.0", "id": "1", "source": "/s", "type": event_type, "data": data}
        if b"batch" in content_type:
            event = [event]
        headers = (("content-type", content_type),)
        with pytest.raises(DeadLetterError) as refused:
            admission.decode(
                consumed(b"\x00\xff" if b"avro" in content_type else json.dumps(event).encode(), headers=headers)
            )
        assert refused.value.error_type == "invalid"
        assert "structured CloudEvents are not read; send ce_* headers" in refused.value.reason

    def test_a_structured_event_that_does_not_say_so(self, inbox: tuple[Any, dict[str, Any], str]) -> None:
        """Without the content type it is a command with unknown fields."""
        admission, data, event_type = inbox
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": event_type, "data": data}
        with pytest.raises(DeadLetterError) as refused:
            admission.decode(consumed(json.dumps(event).encode()))
        assert refused.value.error_type == "invalid"
        assert "unknown field" in refused.value.reason

    def test_no_data(self, inbox: tuple[Any, dict[str, Any], str]) -> None:
        """3.2.2: an event without data is a record without a value."""
        admission, _, event_type = inbox
        with pytest.raises(DeadLetterError) as refused:
            admission.decode(consumed(None, headers=(*_BINARY, ("ce_type", event_type.encode()))))
        assert refused.value.error_type == "undecodable"
