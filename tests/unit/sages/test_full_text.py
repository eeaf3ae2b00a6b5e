"""Words, queries and how alike two texts are."""

from __future__ import annotations

from services.sages.full_text import identifier_parts, likeness, match_query, split_words, stems, terms


def test_identifiers_are_found_whole_and_in_parts() -> None:
    """camelCase, snake_case and acronyms."""
    assert split_words("parseHTTPHeader of user_name") == [
        "parsehttpheader",
        "parse",
        "http",
        "header",
        "of",
        "user",
        "name",
    ]
    assert identifier_parts("plain words, parseJson and HTTPServer") == "parse Json HTTP Server"


def test_terms_leave_out_what_says_nothing() -> None:
    """Stop words, single letters and endless words; the most frequent term comes first, each once."""
    assert terms(["Please fix the parser", "a parser of x " + "z" * 50]) == ["parser", "fix"]
    assert terms(["the of and", ""]) == []


def test_a_query_cannot_hold_syntax() -> None:
    """Quotes and operators of FTS5 never get into it."""
    assert match_query(terms(['"NEAR(a b)" OR title:* -column'])) == '"near" OR "title" OR "column"'


def test_likeness() -> None:
    """1 for the same subject in other forms of its words, 0 for another subject."""
    one, same = stems(["migrating", "schema"]), stems(["migration", "schemas"])
    assert likeness(one, same) == 1
    assert likeness(one, stems(["invoice"])) == 0
    assert likeness(frozenset(), frozenset()) == 0
