"""Write the tables of docs/reference/telemetry.md from the registry of names; with --check only compare.

Usage: telemetry_tables.py [--check] [DOCUMENT]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run by path: the project has to be found first

from document_tables import DOCS, table, update

from shared.telemetry import metric_names, names


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _own(attributes: Sequence[str]) -> str:
    """The attributes of a span; `messaging.*` stands for those of its record, which the page names."""
    own = [name for name in attributes if not name.startswith("messaging.")]
    return _code(own if len(own) == len(attributes) else ["messaging.*", *own])


def spans() -> str:
    """The table of spans."""
    return table(
        ("span", "kind", "child of", "covers", "attributes"),
        [
            (f"`{span.name}`", span.kind.name.lower(), _code(span.parents), span.meaning, _own(span.attributes))
            for span in names.SPANS
        ],
    )


def metrics() -> str:
    """The table of metrics."""
    return table(
        ("metric", "instrument", "unit", "measures", "attributes"),
        [
            (f"`{metric.name}`", metric.instrument, f"`{metric.unit}`", metric.meaning, _code(metric.attributes))
            for metric in metric_names.METRICS
        ],
    )


def attributes() -> str:
    """The table of attributes."""
    return table(("attribute", "value"), [(f"`{attribute.key}`", attribute.meaning) for attribute in names.ATTRIBUTES])


if __name__ == "__main__":
    tables = {"spans": spans, "metrics": metrics, "attributes": attributes}
    sys.exit(update(sys.argv[1:], DOCS / "reference" / "telemetry.md", tables))
