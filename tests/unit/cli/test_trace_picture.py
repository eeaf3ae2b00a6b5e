"""The picture of a trace, read back as XML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from eldermesh_cli.follow.trace_picture import MOST_SPANS, trace_svg
from eldermesh_cli.follow.trace_source import Span

SVG = "{http://www.w3.org/2000/svg}"
MS = 1000


def a_span(
    span_id: str,
    parent: str | None = None,
    name: str = "work",
    *,
    service: str = "router",
    start: int = 0,
    duration: int = 10 * MS,
    status: str = "unset",
) -> Span:
    """A span; times are microseconds."""
    return Span(span_id, parent, name, service, start, duration, status)


def drawn(spans: Sequence[Span]) -> ET.Element:
    """The picture, parsed."""
    return ET.fromstring(trace_svg("abc", spans))  # noqa: S314 - this project has written it


def bars(picture: ET.Element) -> list[tuple[str, float, float]]:
    """Of each bar the name, where it begins and how wide it is, from the top down."""
    return [
        (group.findtext(f"{SVG}text") or "", float(bar.attrib["x"]), float(bar.attrib["width"]))
        for group in picture.iter(f"{SVG}g")
        if (bar := group.find(f"{SVG}rect")) is not None
    ]


def words(picture: ET.Element) -> list[str]:
    """All texts."""
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def test_bars_lie_as_the_spans_do() -> None:
    """Each below its parent, by time, on one scale; services have colours of their own; the error is marked."""
    picture = drawn(
        [
            a_span("c", "a", "second", start=50 * MS, duration=50 * MS, service="worker", status="error"),
            a_span("a", None, "whole", duration=100 * MS),
            a_span("b", "a", "first", duration=50 * MS),
        ]
    )
    found = bars(picture)
    assert [name for name, _, _ in found] == ["whole", "first", "second"]
    (_, left, whole), (_, first_left, first), (_, second_left, second) = found
    assert first_left == left
    assert first == second == pytest.approx(whole / 2, abs=0.1)
    assert second_left == pytest.approx(left + whole / 2, abs=0.1)
    assert {"trace abc · 3 spans · 100 ms", "router", "worker", "50 ms"} <= set(words(picture))
    rectangles = [bar for group in picture.iter(f"{SVG}g") for bar in group.iter(f"{SVG}rect")]
    assert rectangles[0].attrib["fill"] == rectangles[1].attrib["fill"] != rectangles[2].attrib["fill"]
    assert ["stroke" in bar.attrib for bar in rectangles] == [False, False, True]


@pytest.mark.parametrize(
    "name",
    [
        "</text><script>alert(1)</script>",
        '"><svg onload="x"',
        "&amp; ]]> <!-- <![CDATA[",
        "nul\0 escape\x1b[2J bell\a",
        "half \ud800 no character \ufffe\uffff",
        "line\nend\r\ntab\t",
        "\u202eright to left",
        "x" * 100_000,
        "",
    ],
)
def test_names_of_anybody(name: str) -> None:
    """They are text, never markup, and no line of theirs is longer than others."""
    source = trace_svg(name, [a_span("a", name=name, service=name)])
    picture = ET.fromstring(source)  # noqa: S314 - this project has written it
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} == {
        *("svg", "title", "rect", "text", "line", "g")
    }
    assert not [key for element in picture.iter() for key in element.attrib if key.startswith("on")]
    assert len(source) < 10_000
    source.encode()


def test_ten_thousand_spans() -> None:
    """Only the longest are drawn, and a line says how many are not."""
    spans = [a_span("root", duration=20_000 * MS)]
    spans += [a_span(f"{n}", "root", f"item {n}", start=n * MS, duration=(n + 1) * 10) for n in range(9_999)]
    picture = drawn(spans)
    found = bars(picture)
    assert len(found) == MOST_SPANS
    assert found[0][0] == "work"
    assert {name for name, _, _ in found[1:]} == {f"item {n}" for n in range(9_999 - MOST_SPANS + 1, 9_999)}
    assert all(before[1] <= after[1] for before, after in pairwise(found[1:]))
    assert f"… and {10_000 - MOST_SPANS} spans left out, none longer" in words(picture)


def test_spans_without_a_tree() -> None:
    """Parents that are missing, that go round in a circle, or that are deep: each span is drawn once."""
    deep = [a_span(f"d{n}", f"d{n - 1}" if n else None, f"deep {n}") for n in range(300)]
    odd = [a_span("a", "b", "a"), a_span("b", "a", "b"), a_span("c", "gone", "c"), a_span("d", "d", "d")]
    assert sorted(name for name, _, _ in bars(drawn([*deep, *odd]))) == sorted(
        [f"deep {n}" for n in range(300)] + ["a", "b", "c", "d"]
    )


def test_no_spans() -> None:
    """A picture all the same."""
    assert bars(drawn([])) == []
