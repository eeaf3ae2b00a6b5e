"""Tables of a page between `<!-- table: NAME -->` and `<!-- end -->`, written anew or compared with what is there."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"

Tables = Mapping[str, Callable[[], str]]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def with_tables(document: str, tables: Tables) -> str:
    """The document with each of the tables written anew."""
    for name, written in tables.items():
        before, begin, rest = document.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise SystemExit(f"the document has no place for the table of {name}")
        document = f"{before}{begin}{written()}{end}{after}"
    return document


def update(arguments: Sequence[str], page: Path, tables: Tables) -> int:
    """Write the page that the arguments name (default: `page`); with --check exit status 1 if it differs."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    path = paths[0] if paths else page
    found = path.read_text("utf-8")
    wanted = with_tables(found, tables)
    if "--check" not in arguments:
        path.write_text(wanted, "utf-8")
    elif found != wanted:
        print(f"{path} is not what the code says: run scripts/{Path(sys.argv[0]).name}", file=sys.stderr)
        return 1
    return 0
