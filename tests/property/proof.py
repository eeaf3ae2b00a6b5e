"""The list of mutations in `docs/explanation/history-proof.md`. `python -m tests.property.proof` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.property.mutations import MUTATIONS

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "history-proof.md"
_BEGINS = "<!-- mutations: written by `python -m tests.property.proof` -->\n"


def page_with_list(page: str) -> str:
    """The page with the list as the registry has it now."""
    head, marker, _ = page.partition(_BEGINS)
    if not marker:
        raise ValueError(f"the page has no line {_BEGINS!r}")
    lines = "\n".join(mutation.row() for mutation in MUTATIONS)
    return f"{head}{marker}\n{lines}\n"


if __name__ == "__main__":
    PAGE.write_text(page_with_list(PAGE.read_text("utf-8")), "utf-8")
