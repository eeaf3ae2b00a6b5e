"""Write the tables of docs/reference/telemetry.md from the registry of names; with --check only compare.

Usage: telemetry_tables.py [--check] [DOCUMENT]
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from shared.telemetry import metric_names, names  # noqa: E402 - it is run by path, so the project has to be found first


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def spans() -> str:
    """The table of spans."""
    return _table(
        ("span", "kind", "child of", "covers", "attributes"),
        [
            (f"`{span.name}`", span.kind.name.lower(), _code(span.parents), span.meaning, _code(span.attributes))
            for span in names.SPANS
        ],
    )


def metrics() -> str:
    """The table of metrics."""
    return _table(
        ("metric", "instrument", "unit", "measures", "attributes"),
        [
            (f"`{metric.name}`", metric.instrument, f"`{metric.unit}`", metric.meaning, _code(metric.attributes))
            for metric in metric_names.METRICS
        ],
    )


def attributes() -> str:
    """The table of attributes."""
    return _table(("attribute", "value"), [(f"`{attribute.key}`", attribute.meaning) for attribute in names.ATTRIBUTES])


TABLES: dict[str, Callable[[], str]] = {"spans": spans, "metrics": metrics, "attributes": attributes}


def with_tables(document: str) -> str:
    """The document with each table between `<!-- table: NAME -->` and `<!-- end -->` written anew."""
    for name, table in TABLES.items():
        before, begin, rest = document.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise SystemExit(f"the document has no place for the table of {name}")
        document = f"{before}{begin}{table()}{end}{after}"
    return document


def main(arguments: list[str]) -> int:
    """Exit status 1 when --check finds a difference."""
    check = "--check" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    path = paths[0] if paths else ROOT / "docs" / "reference" / "telemetry.md"
    found = path.read_text("utf-8")
    wanted = with_tables(found)
    if not check:
        path.write_text(wanted, "utf-8")
    elif found != wanted:
        print(f"{path} is not what the registry says: run scripts/telemetry_tables.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
