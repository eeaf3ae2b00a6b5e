"""A trace drawn as a tree."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console

from eldermesh_cli.follow.trace import items_with_span
from eldermesh_cli.follow.trace_source import Span
from eldermesh_cli.follow.trace_tree import BAR_CELLS, MAX_ALIKE, duration_text, trace_tree

MS = 1_000


def _span(
    span_id: str,
    parent: str | None,
    name: str = "work",
    *,
    start: int = 0,
    duration: int = 10 * MS,
    status: str = "unset",
    **attributes: object,
) -> Span:
    named = {key.replace("_", "."): value for key, value in attributes.items()}
    return Span(span_id, parent, name, "router", start, duration, status, named)


def _drawn(
    spans: Sequence[Span], *, show_all: bool = False, max_alike: int = MAX_ALIKE, color: bool = False, width: int = 140
) -> list[str]:
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None)
    console.print(trace_tree(spans, show_all=show_all, max_alike=max_alike))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_tree_with_durations_and_bars() -> None:
    """Children stand below their parents in order of start; bars show offset and length on one scale."""
    lines = _drawn(
        [
            _span("c", "a", "process chunk", start=50 * MS, duration=50 * MS),
            _span("a", None, "process jobs", start=0, duration=100 * MS),
            _span("b", "a", "queue wait", start=0, duration=50 * MS),
            _span("d", "c", "process item", start=75 * MS, duration=25 * MS),
        ]
    )
    assert "0 … 100 ms" in lines[0]
    assert [line[: line.index("router")].rstrip() for line in lines[1:]] == [
        "process jobs",
        "├─ queue wait",
        "└─ process chunk",
        "   └─ process item",
    ]
    bars = [line.partition(" ms ")[2] for line in lines[1:]]
    assert bars[0] == "━" * BAR_CELLS
    assert bars[1] == "━" * (BAR_CELLS // 2)
    assert bars[2] == " " * (BAR_CELLS // 2) + "━" * (BAR_CELLS // 2)
    assert bars[3] == " " * (BAR_CELLS * 3 // 4) + "━" * (BAR_CELLS // 4)
    assert "25 ms" in lines[4]


def test_items_that_began_together_are_in_order() -> None:
    """Of an index each, not of an id."""
    items = [Span(f"{9 - n}", "a", "process item", "w", 5, 1, "ok", {"eldermesh.item.index": n}) for n in range(3)]
    lines = _drawn([_span("a", None), *items])
    assert [line.split()[3] for line in lines[2:]] == ["0", "1", "2"]


def test_a_failed_span_is_red_and_says_why() -> None:
    """Name, reason and bar of what failed stand out."""
    (_, line) = _drawn([_span("a", None, status="error", otel_status_description="x")], color=True)
    assert "\x1b[31mwork" in line
    failed = Span("a", None, "process item", "router", 0, 5, "error", {"otel.status_description": "ZeroDivisionError"})
    assert "ZeroDivisionError" in _drawn([failed])[1]


def test_orphans_are_below_a_note() -> None:
    """A span whose parent was not received is shown with its children, below the id of what is missing."""
    lines = _drawn([_span("a", None, "root"), _span("c", "lost", "chunk"), _span("d", "c", "item")])
    assert lines[1].startswith("root")
    assert lines[2].startswith("missing parent lost")
    assert lines[3].startswith("└─ chunk")
    assert lines[4].startswith("   └─ item")


def test_many_alike_are_counted() -> None:
    """Of 300 items the first are drawn and all that failed, with a note; `show_all` draws every one."""
    spans = [_span("root", None, "process chunk", duration=400 * MS)]
    spans += [
        _span(f"i{n:03}", "root", "process item", start=n * MS, status="error" if n == 200 else "unset")
        for n in range(300)
    ]
    spans.append(_span("below", "i250", "tool call", start=260 * MS))
    lines = _drawn(spans)
    assert sum("process item " in line for line in lines) == MAX_ALIKE + 1
    assert lines[-1].startswith(f"└─ … {300 - MAX_ALIKE - 1} more of “process item”")
    assert len(_drawn(spans, show_all=True)) == 1 + 302


def test_the_longest_of_many_alike_are_drawn() -> None:
    """What took long is what one looks for; the drawn ones stand in the order of their starts."""
    spans = [_span("root", None, "process chunk", duration=400 * MS)]
    spans += [
        _span(f"i{n:03}", "root", "process item", start=n * MS, duration=(90 if n in {50, 70} else 1) * MS)
        for n in range(100)
    ]
    lines = _drawn(spans, max_alike=3)
    assert [line.split()[4] for line in lines if "process item " in line] == ["1", "90", "90"]
    assert "97 more of “process item”, none longer" in lines[-1]


def test_circles_and_deep_traces_are_drawn() -> None:
    """A span below itself, two below each other, and 3,000 levels: each span is drawn once, nothing recurses."""
    spans = [_span("a", "a"), _span("b", "c"), _span("c", "b")]
    assert sum("work" in line for line in _drawn(spans)) == 3
    deep = [_span(f"{n}", f"{n - 1}" if n else None) for n in range(3_000)]
    assert len(_drawn(deep)) == 3_001


def test_a_sample_of_the_items_is_told_as_one() -> None:
    """Where a job has more items than get a span each; a job whose spans are still to come is no such one."""
    items = [Span(f"{n}", "a", "process item", "w", 5, 1, "ok", {"eldermesh.item.index": n // 2}) for n in range(4)]
    assert items_with_span(items, 100_000, 400) == "2 of 100,000 items have a span (MESH_ITEM_SPANS)"
    assert items_with_span(items, 400, 400) is None
    assert items_with_span(items, 2, 1) is None


def test_nothing_is_an_empty_table() -> None:
    """No spans: only the heading."""
    assert len(_drawn([])) == 1


def test_labels_tell_like_spans_apart() -> None:
    """The chunk's range and the item's index stand after the name."""
    chunk = Span("a", None, "process chunk", "w", 0, 1, "ok", {"eldermesh.chunk.id": "job/0/1/0-11"})
    item = Span("b", "a", "process item", "w", 0, 1, "ok", {"eldermesh.item.index": 7})
    lines = _drawn([chunk, item])
    assert lines[1].startswith("process chunk 0-11")
    assert lines[2].startswith("└─ process item 7")


def test_durations_in_readable_units() -> None:
    """From microseconds to minutes."""
    texts = [duration_text(us) for us in (0, 480, 1_500, 12_340, 250_000, 1_234_567, 61_000_000, 3_661_000_000)]
    assert texts == ["0 µs", "480 µs", "1.5 ms", "12.3 ms", "250 ms", "1.23 s", "1 min 01 s", "61 min 01 s"]


def test_in_a_narrow_terminal_only_names_are_cut() -> None:
    """Service, duration and bar stay whole at 80 columns however long a name is."""
    lines = _drawn([_span("a", None, "x" * 200, duration=671), _span("b", "a", "short", duration=48)], width=80)
    assert all(len(line) <= 80 for line in lines)
    assert "x… router" in lines[1]
    assert "0.671 ms " + "━" * BAR_CELLS in lines[1]
    assert "48 µs" in lines[2]
