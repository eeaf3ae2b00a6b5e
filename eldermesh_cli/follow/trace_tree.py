"""Draw a trace: its spans as a tree, each with its duration and a bar that shows when it ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.table import Table
from rich.text import Text

from eldermesh_cli.follow.trace_source import Span

BAR_CELLS = 32
MAX_ALIKE = 8
"""Children of one span with the same name that are shown, the longest; those that failed are shown besides."""

_ERROR = "red"
_MISSING = "yellow"
_FAINT = "dim"
_HALF_MS_US = 500
_SECOND_US = 1_000_000
_MINUTE_US = 60 * _SECOND_US
_LABELS = ("eldermesh.item.index", "eldermesh.chunk.id", "eldermesh.sage", "eldermesh.decision", "eldermesh.job.status")


@dataclass
class _Node:
    """A line of the tree: a span, or, without one, a note."""

    text: Text
    span: Span | None = None
    children: list[_Node] = field(default_factory=list)


def trace_tree(spans: Sequence[Span], *, show_all: bool = False, max_alike: int = MAX_ALIKE) -> Table:
    """The trace as lines of a table: tree of names, service, duration, bar.

    Spans whose parent was not received are below a note that names the parent. Of many children with the same name
    only the `max_alike` longest are shown, unless `show_all`.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style=_FAINT)
    # Rich narrows the columns that may wrap: so that only names give way, only theirs may, and their text does not.
    table.add_column("span")
    table.add_column("service", no_wrap=True, style=_FAINT)
    table.add_column("duration", justify="right", no_wrap=True)
    begin = min((span.start_us for span in spans), default=0)
    end = max((span.start_us + span.duration_us for span in spans), default=0)
    table.add_column(f"0 … {duration_text(end - begin)}", no_wrap=True, min_width=BAR_CELLS)
    for root in _Forest(spans, show_all=show_all, max_alike=max_alike).roots():
        for prefix, node in _lines(root):
            table.add_row(*_row(prefix, node, begin, end))
    return table


def duration_text(duration_us: int) -> str:
    """A duration in the unit in which it reads best."""
    if duration_us < _HALF_MS_US:
        return f"{duration_us} µs"
    if duration_us < _SECOND_US:
        return f"{duration_us / 1000:.3g} ms" if duration_us < 100 * 1000 else f"{duration_us / 1000:.0f} ms"
    if duration_us < _MINUTE_US:
        return f"{duration_us / _SECOND_US:.2f} s"
    minutes, rest = divmod(duration_us // _SECOND_US, 60)
    return f"{minutes} min {rest:02d} s"


class _Forest:
    """The trees that a trace's spans make: one, unless spans are missing. Nothing is recursive: traces can be deep."""

    def __init__(self, spans: Sequence[Span], *, show_all: bool, max_alike: int) -> None:
        self._show_all = show_all
        self._max_alike = max_alike
        self._spans = sorted(spans, key=lambda span: span.place)
        self._children: dict[str, list[Span]] = {}
        for span in self._spans:
            if span.parent_span_id is not None:
                self._children.setdefault(span.parent_span_id, []).append(span)
        self._drawn: set[str] = set()

    def roots(self) -> list[_Node]:
        """The trees, each grown."""
        top = _Node(Text(), children=self._chosen([span for span in self._spans if span.parent_span_id is None]))
        known = {span.span_id for span in self._spans}
        for parent, orphans in self._children.items():
            if parent not in known:
                note = Text(f"missing parent {parent}", style=_MISSING)
                top.children.append(_Node(note, children=self._chosen(orphans)))
        self._grow(top)
        for span in self._spans:
            if span.span_id not in self._drawn:  # its ancestors go round in a circle
                note = Text("missing parent (circular)", style=_MISSING)
                circle = _Node(note, children=self._chosen([span]))
                self._grow(circle)
                top.children.append(circle)
        return top.children

    def _grow(self, root: _Node) -> None:
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node.span is not None:
                node.children = self._chosen(self._below(node.span))
            waiting += node.children

    def _below(self, span: Span) -> list[Span]:
        return [child for child in self._children.get(span.span_id, ()) if child.span_id not in self._drawn]

    def _chosen(self, siblings: Sequence[Span]) -> list[_Node]:
        """Siblings as nodes, and a note for those of which there are too many alike."""
        shown: Counter[str] = Counter()
        folded: set[str] = set()
        for span in sorted(siblings, key=lambda span: -span.duration_us):
            shown[span.name] += 1
            if not self._show_all and shown[span.name] > self._max_alike and span.status != "error":
                folded.add(span.span_id)
        left_out: Counter[str] = Counter()
        nodes = []
        for span in siblings:
            if span.span_id in folded:
                left_out[span.name] += 1
                self._leave_out(span)
            else:
                self._drawn.add(span.span_id)
                nodes.append(_Node(_name(span), span))
        notes = [_Node(Text(f"… {n} more of “{name}”, none longer", style=_FAINT)) for name, n in left_out.items()]
        return nodes + notes

    def _leave_out(self, span: Span) -> None:
        """What is below a span that is left out goes with it."""
        waiting = [span]
        while waiting:
            left_out = waiting.pop()
            self._drawn.add(left_out.span_id)
            waiting += self._below(left_out)


def _lines(root: _Node) -> Iterator[tuple[str, _Node]]:
    """Each node from a root down, in order, with the branches that stand before it."""
    waiting: list[tuple[str, str, _Node]] = [("", "", root)]
    while waiting:
        prefix, rest, node = waiting.pop()
        yield prefix, node
        last = len(node.children) - 1
        waiting += [
            (rest + ("└─ " if n == last else "├─ "), rest + ("   " if n == last else "│  "), child)
            for n, child in reversed(list(enumerate(node.children)))
        ]


def _row(prefix: str, node: _Node, begin: int, end: int) -> tuple[Text, str, Text, Text]:
    name = Text(no_wrap=True, overflow="ellipsis").append(prefix, style=_FAINT).append_text(node.text)
    if node.span is None:
        return name, "", Text(), Text()
    style = _ERROR if node.span.status == "error" else ""
    return name, node.span.service_name, Text(duration_text(node.span.duration_us), style), _bar(node.span, begin, end)


def _name(span: Span) -> Text:
    text = Text(span.name, style=_ERROR if span.status == "error" else "")
    label = next((str(span.attributes[key]) for key in _LABELS if key in span.attributes), None)
    if label is not None:
        text.append(f" {label.rpartition('/')[2]}", style=_FAINT)
    message = span.attributes.get("otel.status_description")
    if span.status == "error" and message:
        text.append(f"  {message}", style=_ERROR)
    return text


def _bar(span: Span, begin: int, end: int) -> Text:
    whole = max(1, end - begin)
    first = min(BAR_CELLS - 1, (span.start_us - begin) * BAR_CELLS // whole)
    cells = max(1, min(BAR_CELLS - first, round(span.duration_us * BAR_CELLS / whole)))
    bar = Text(" " * first)
    return bar.append("━" * cells, style=_ERROR if span.status == "error" else "green")
