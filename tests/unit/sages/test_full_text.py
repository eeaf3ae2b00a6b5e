"""Words, queries and how alike two texts are."""

from __future__ import annotations

from services.sages.memory.full_text import (
    identifier_parts,
    indexed_words,
    likeness,
    match_query,
    split_words,
    stems,
    terms,
)


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
    assert identifier_parts("plain words, parseJson and HTTPServer") == "parse json http server"


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


def test_one_normal_form() -> None:
    """Marks, compatible forms and case make no difference, in whichever way a text was composed."""
    for one, other in [
        ("Überlauf", "U\u0308BERLAUF"),
        ("Straße", "STRASSE"),
        ("\ufb01le", "FILE"),
        ("İstanbul", "istanbul"),
        ("\u1f08\u03b8\u03ae\u03bd\u03b1\u03c2", "\u03b1\u03b8\u03b7\u03bd\u03b1\u03c3"),
        ("\uff41\uff42\uff43", "abc"),
        ("\uac00\uac01", "\u1100\u1161\u1100\u1161\u11a8"),
        ("\u0645\u064f\u062d\u064e\u0645\u064e\u0651\u062f", "\u0645\u062d\u0645\u062f"),
        ("co\u00adoperate", "cooperate"),
        ("\uff76\uff9e\uff72", "ガイ"),
    ]:
        assert split_words(one) == split_words(other)
        assert indexed_words(one) == indexed_words(other)


def test_scripts_without_spaces_count_by_pairs() -> None:
    """Chinese, Japanese, Thai, and what stands beside them; one character alone stays one."""
    assert split_words("备份数据库v2") == ["备份", "份数", "数据", "据库", "v2"]
    assert split_words("データ") == ["テー", "ータ"]
    assert indexed_words("ไทย 一") == "ไท ทย 一"
