"""Draw a trace as SVG: a bar for each span, in the order of the tree, coloured by service."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from eldermesh.counted import counted
from eldermesh_cli.follow.trace_source import Span
from eldermesh_cli.follow.trace_tree import duration_text
from eldermesh_cli.terminal.safe_text import in_one_line, shortened, terminal_text

MOST_SPANS = 400
"""A picture of more is too high to be looked at."""

_COLOURS = ("#4269d0", "#efb118", "#3ca951", "#6cc5b0", "#a463f2", "#97bbf5", "#9c6b4e", "#ff8ab7")
_ERROR_COLOUR = "#d62728"
_NO_XML = re.compile("[\ufffe\uffff]")

_WIDTH = 1200
_NAMES_WIDTH = 430
_BARS_WIDTH = 640
_ROW_HEIGHT = 18
_BAR_HEIGHT = 10
_TOP = 64
_INDENT = 10
_DEEPEST = 12
_NAME_CHARACTERS = 58
_TICKS = 4


def trace_svg(trace_id: str, spans: Sequence[Span], *, most: int = MOST_SPANS) -> str:
    """The picture of a trace; of more than `most` spans only the longest are drawn, and a line says so."""
    drawn = sorted(spans, key=lambda span: -span.duration_us)[:most]
    begin = min((span.start_us for span in drawn), default=0)
    whole = max(1, max((span.start_us + span.duration_us for span in drawn), default=0) - begin)
    services = sorted({span.service_name for span in drawn})
    colours = {service: _COLOURS[number % len(_COLOURS)] for number, service in enumerate(services)}
    left_out = len(spans) - len(drawn)
    height = _TOP + _ROW_HEIGHT * (len(drawn) + bool(left_out)) + 12
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="11">'
        ),
        f"<title>Trace {_text(trace_id)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _words(10, 18, f"trace {trace_id} · {counted(len(spans), 'span')} · {duration_text(whole)}", "#000000"),
        *_legend(colours),
        *_ticks(whole, height),
    ]
    for number, (depth, span) in enumerate(_rows(drawn)):
        lines += _row(_TOP + number * _ROW_HEIGHT, depth, span, begin, whole, colours[span.service_name])
    if left_out:
        lines.append(_words(10, height - 14, f"… and {counted(left_out, 'span')} left out, none longer", "#666666"))
    return "\n".join([*lines, "</svg>", ""])


def _rows(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """Each span once, after its parent, with its depth; what has no parent among them begins a tree."""
    by_start = sorted(spans, key=lambda span: (span.start_us, -span.duration_us, span.span_id))
    known = {span.span_id for span in by_start}
    below: dict[str, list[Span]] = {}
    for span in by_start:
        if span.parent_span_id is not None:
            below.setdefault(span.parent_span_id, []).append(span)
    seen: set[int] = set()
    roots = [span for span in by_start if span.parent_span_id not in known]
    for root in (*roots, *by_start):  # the rest: spans whose ancestors go round in a circle
        waiting = [(0, root)]
        while waiting:
            depth, span = waiting.pop()
            if id(span) in seen:
                continue
            seen.add(id(span))
            yield depth, span
            waiting += [(depth + 1, child) for child in reversed(below.get(span.span_id, []))]


def _legend(colours: dict[str, str]) -> Iterator[str]:
    x = 10
    for service, colour in colours.items():
        name = shortened(service, 30)
        if x > _WIDTH - 200:
            return  # the tooltip of each bar names its service, too
        yield f'<rect x="{x}" y="28" width="10" height="10" fill="{colour}"/>'
        yield _words(x + 14, 37, name, "#333333")
        x += 34 + 7 * len(name)


def _ticks(whole: int, height: int) -> Iterator[str]:
    for number in range(_TICKS + 1):
        x = _NAMES_WIDTH + _BARS_WIDTH * number // _TICKS
        yield f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - 8}" stroke="#dddddd"/>'
        yield _words(x, _TOP - 10, duration_text(whole * number // _TICKS), "#666666", anchor="middle")


def _row(y: int, depth: int, span: Span, begin: int, whole: int, colour: str) -> Iterator[str]:
    indent = _INDENT * min(depth, _DEEPEST)
    left = _NAMES_WIDTH + _BARS_WIDTH * (span.start_us - begin) / whole
    width = max(1.0, _BARS_WIDTH * span.duration_us / whole)
    is_error = span.status == "error"
    outline = f' stroke="{_ERROR_COLOUR}"' if is_error else ""
    duration = duration_text(span.duration_us)
    name = shortened(in_one_line(span.name), _NAME_CHARACTERS - indent // 7)
    yield "<g>"
    yield f"<title>{_text(f'{span.name} · {span.service_name} · {duration} · {span.status}')}</title>"
    yield _words(10 + indent, y + 12, name, _ERROR_COLOUR if is_error else "#000000")
    yield (f'<rect x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="{_BAR_HEIGHT}" fill="{colour}"{outline}/>')
    yield _words(round(left + width) + 4, y + 13, duration, "#666666")
    yield "</g>"


def _words(x: int, y: int, text: str, colour: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}">{_text(text)}</text>'


def _text(text: str) -> str:
    """A text of anybody's in one line, as XML may hold it."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", terminal_text(in_one_line(text))))
