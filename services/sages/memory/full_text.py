"""Words of texts, and queries for SQLite's full-text index (FTS5, ranked by bm25).

Texts and queries get one normal form, and only here: NFKD without marks, casefolded. Scripts without spaces between
words are split into pairs of characters. The words, joined by spaces, are what FTS5's tokenizer `ascii` then splits at.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Final

MAX_TERMS: Final = 100
"""How many of a text's terms are searched for: the most frequent ones."""
MAX_TEXT_CHARACTERS: Final = 8000
"""How much of a text is read to make a query."""

_STEM_CHARACTERS = 6
_LONGEST_TERM = 40
_PAIR = 2
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Scripts that put no space between words: CJK ideographs, kana, Bopomofo, Yi; Thai, Lao, Burmese, Khmer and their kin.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff\U00016fe0-\U00018cff\U0001aff0-\U0001b16f"
    "\U00020000-\U0003ffff"
)
_SPACELESS_RUN = re.compile(f"([{_SPACELESS}]+)")

STOP_WORDS: Final = frozenset(
    """
    a about above after again all also although always am an and another any anything are as at be because been
    before being below best better between both but by came can cannot come could did do does doing done down during
    each either else ever every everything few for from further get gets getting given gives go goes going got had
    has have having he her here him his how however i if in instead into is it its itself just keep let lets like
    made make makes making many may maybe me might more most much must my need needs neither no nor not now of off
    on once one only onto or other our out over own please put rather said same say says see several shall she
    should since so some something still such take than that the their them then there these they thing things this
    those though through thus to together too under until up upon us use used uses using very via want wants was way
    we well were what when where whether which while who whose why will with within without would you your
    """.split()  # noqa: SIM905 - a list of so many quoted words cannot be read
)
"""Words that are in every text and say nothing about its subject."""


def split_words(text: str) -> list[str]:
    """The words of a text in normal form; an identifier in camel case gives itself and its parts."""
    found: list[str] = []
    for word in _raw_words(text[:MAX_TEXT_CHARACTERS]):
        found += _pairs(word)
        parts = _HUMP.split(word)
        if len(parts) > 1:
            found += [pair for part in parts for pair in _pairs(part)]
    return found


def indexed_words(text: str) -> str:
    """The words of a text in normal form, joined by spaces, for an FTS5 index."""
    return " ".join(pair for word in _raw_words(text) for pair in _pairs(word))


def identifier_parts(text: str) -> str:
    """The parts of identifiers in camel case, in normal form, joined by spaces."""
    parts = (part for word in _raw_words(text) if len(parts := _HUMP.split(word)) > 1 for part in parts)
    return " ".join(pair for part in parts for pair in _pairs(part))


def _raw_words(text: str) -> list[str]:
    """The words of a text, NFKD without marks, in their own case."""
    return _WORD.findall(text if text.isascii() else _unmarked(text))


def _unmarked(text: str) -> str:
    letters = "".join(each for each in unicodedata.normalize("NFKD", text) if unicodedata.category(each)[0] != "M")
    # NFC joins the parts of Hangul syllables again.
    return unicodedata.normalize("NFC", "".join(each for each in letters if unicodedata.category(each) != "Cf"))


def _pairs(word: str) -> list[str]:
    """The word casefolded; text without spaces becomes all pairs of neighbouring characters."""
    if word.isascii():
        return [word.lower()]
    found: list[str] = []
    for run in _SPACELESS_RUN.split(_unmarked(word.casefold())):
        if len(run) < _PAIR or _SPACELESS_RUN.match(run) is None:
            found += [run] if run else []
        else:
            found += [run[at : at + _PAIR] for at in range(len(run) - 1)]
    return found


def terms(texts: Iterable[str]) -> list[str]:
    """The different words of the texts without stop words, the most frequent first."""
    counted = Counter(
        word
        for text in texts
        for word in split_words(text)
        if word not in STOP_WORDS and 1 < len(word) <= _LONGEST_TERM
    )
    # Equal counts keep the order of the text.
    return [word for word, _ in counted.most_common()]


def match_query(words: Iterable[str]) -> str:
    """An FTS5 expression that matches texts with any of the words."""
    return " OR ".join(f'"{word}"' for word in words)


def full_text_index_sql(noun: str, *columns: str) -> str:
    """SQL for an FTS5 index of columns of the table `<noun>s`, which has an `id`; triggers keep the index up to date.

    The index is `<noun>_words`, its `fts5vocab` table `<noun>_vocabulary`.
    """
    names = ", ".join(columns)
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("new", "old"))
    return f"""
CREATE VIRTUAL TABLE {noun}_words USING fts5 (
    {names}, content = '{noun}s', content_rowid = 'id', tokenize = 'ascii'
);
CREATE VIRTUAL TABLE {noun}_vocabulary USING fts5vocab ({noun}_words, row);
CREATE TRIGGER {noun}_added AFTER INSERT ON {noun}s BEGIN
    INSERT INTO {noun}_words (rowid, {names}) VALUES (new.id, {new});
END;
CREATE TRIGGER {noun}_removed AFTER DELETE ON {noun}s BEGIN
    INSERT INTO {noun}_words ({noun}_words, rowid, {names}) VALUES ('delete', old.id, {old});
END;
"""  # noqa: S608 - the names are constants of the callers


def rarest(connection: sqlite3.Connection, vocabulary: str, words: Iterable[str], *, limit: int) -> list[str]:
    """The `limit` words that the fewest rows of an index contain, without those that no row contains.

    Words that are in every row, such as those of a template, tell rows apart least and take longest to search for.

    Args:
        connection: to the database.
        vocabulary: an `fts5vocab` table of the index, of the type `row`.
        words: in normal form.
        limit: how many at most.
    """
    rows_with = f"SELECT doc FROM {vocabulary} WHERE term = ?"  # noqa: S608 - a name of our own
    counts = [(row[0], word) for word in words for row in connection.execute(rows_with, (word,))]
    return [word for _, word in sorted(counts)[:limit]]


def stemmed(words: Iterable[str]) -> list[str]:
    """Words cut to six characters, which makes most forms of a word equal; each once, in their order."""
    return list(dict.fromkeys(word[:_STEM_CHARACTERS] for word in words))


def stems(words: Iterable[str]) -> frozenset[str]:
    """The same as a set."""
    return frozenset(stemmed(words))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Dice's coefficient of two sets of stems: 0 if they share nothing, 1 if they are equal."""
    size = len(one) + len(other)
    return 2 * len(one & other) / size if size else 0.0
