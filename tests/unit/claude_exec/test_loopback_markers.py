import contextlib
import time

import pytest

from services.claude_exec.loopback.markers import MAX_FILL, MAX_MARKERS, MarkerError, read_markers
from services.claude_exec.loopback.steps import (
    BreakOff,
    CallTool,
    Fill,
    Refuse,
    Reply,
    Step,
    Stop,
    Structured,
    Usage,
    Wait,
)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("[[reply two words]]", Reply("two words")),
        ("[[reply]]", Reply("")),
        ("[[reply two\nlines]]", Reply("two\nlines")),
        (r'[[reply "a ]] and\na line"]]', Reply("a ]] and\na line")),
        ('[[reply "quoted" word]]', Reply('"quoted" word')),
        ("[[json [[1], [2]]]]", Structured([[1], [2]])),
        ('[[json {"text": "]]"} ]]', Structured({"text": "]]"})),
        ("[[bytes 5000000]]", Fill(5_000_000)),
        ("[[delay 0.25]]", Wait(0.25)),
        ("[[delay 1 times=2]]", Wait(1.0, 2)),
        ("[[stall]]", BreakOff("stall")),
        ("[[drop times=1]]", BreakOff("drop", 1)),
        ("[[malformed]]", BreakOff("malformed")),
        ("[[status 529]]", Refuse(529)),
        ("[[status 429 retry-after=3 times=2]]", Refuse(429, 3, 2)),
        ('[[status 400 message="too ]] long"]]', Refuse(400, message="too ]] long")),
        ("[[tool Read]]", CallTool("Read", {})),
        (
            '[[tool Bash {"command": "[[ -f x ]] && echo"}]]',
            CallTool("Bash", {"command": "[[ -f x ]] && echo"}),
        ),
        ("[[usage input=10 output=20]]", Usage(10, 20)),
        ("[[usage cache-read=5 cache-write=6]]", Usage(None, None, 5, 6)),
        ("[[stop max_tokens]]", Stop("max_tokens")),
        ("[[stop refusal times=1]]", Stop("refusal", 1)),
    ],
)
def test_each_marker(text: str, step: Step) -> None:
    """Every marker is read for what it says, and JSON in it may hold what else would close it."""
    assert read_markers(f"before {text} behind") == (step,)


def test_in_order() -> None:
    """Steps come in the order of their markers; what stands between means nothing."""
    text = "First [[delay 1]] then\n[[reply one]][[reply two]] and [[stop refusal]]."
    assert read_markers(text) == (Wait(1.0), Reply("one"), Reply("two"), Stop("refusal"))


@pytest.mark.parametrize("text", ["", "nothing", "if [[ -f x ]]; then", "[[link]]", "[[Reply x]]", "[[stop-words]]"])
def test_no_marker(text: str) -> None:
    """Brackets before other words are text like any other."""
    assert read_markers(text) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[reply never closed", "expected"),
        ("[[json {]]", "Expecting"),
        ('[[json {"a": 1, "a": 2}]]', "duplicate"),
        (r'[[json "\ud800"]]', "surrogate"),
        (f"[[json {'[' * 100_000}]]", "deep"),
        ("[[json 1 2]]", "expected"),
        ("[[bytes -1]]", "whole number"),
        (f"[[bytes {MAX_FILL + 1}]]", "whole number"),
        (f"[[bytes {MAX_FILL}]][[bytes 1]]", "in all"),
        ("[[delay]]", "says nothing"),
        ("[[delay soon]]", "float"),
        ("[[delay nan]]", "seconds"),
        ("[[delay 3000]][[delay 3000]]", "in all"),
        ("[[status 200]]", "whole number"),
        ("[[status 429 retry=1]]", "no option 'retry'"),
        ("[[status 429 times=0]]", "whole number"),
        ("[[tool Bash [1]]]", "no JSON object"),
        ("[[tool Bash(ls)]]", "no name"),
        ("[[usage input=many]]", "whole number"),
        ("[[stop Max Tokens]]", "no reason"),
        ("[[stall 5]]", "expected"),
        ("[[stall]]" * (MAX_MARKERS + 1), "more than"),
    ],
)
def test_wrong_markers(text: str, reason: str) -> None:
    """A marker that cannot be obeyed is an error that says why, never ignored."""
    with pytest.raises(MarkerError, match=reason):
        read_markers(text)


@pytest.mark.parametrize("unit", ["[[", "[[reply ", "[[status 429 ", '[[reply "', "[[json ", "[[ reply ]]", " "])
def test_large_texts_are_read_in_linear_time(unit: str) -> None:
    """Megabytes of what almost is a marker do not hold up the endpoint."""
    began = time.process_time()
    with contextlib.suppress(MarkerError):
        read_markers(unit * (2_000_000 // len(unit)))
    assert time.process_time() - began < 5.0
