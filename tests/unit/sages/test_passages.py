"""How texts are cut into passages that can be quoted: titles, lines, sizes."""

from __future__ import annotations

import pytest

from services.sages.passages import MAX_PASSAGE_CHARACTERS, cut

MARKDOWN = """# Billing

Invoices are made at night.

## Refunds

Ask the desk first.

```sh
# not a heading
refund --all
```

# Mail
Letters go out at noon.
"""

RESTRUCTURED = """=======
Storage
=======

Where bytes lie.

Backups
-------

Every night.

Restore
-------

Never tried.
"""

PYTHON = '''"""Money."""

import math


@cached
def rounded(amount):
    """Half to even."""
    return math.floor(amount)


class Account:
    """An account."""

    def close(self):
        return None


LIMIT = 5
'''


def _places(path: str, text: str) -> list[tuple[str, int, int]]:
    return [(each.title, each.first_line, each.last_line) for each in cut(path, text)]


def test_markdown_by_headings() -> None:
    """The title is the path of headings; a `#` within a fence is none."""
    assert _places("docs/billing.md", MARKDOWN) == [
        ("Billing", 1, 3),
        ("Billing > Refunds", 5, 12),
        ("Mail", 14, 15),
    ]
    assert "# not a heading" in cut("docs/billing.md", MARKDOWN)[1].text


def test_restructured_text_by_underlines() -> None:
    """Levels are in the order in which kinds of underlines appear."""
    titles = [each.title for each in cut("storage.rst", RESTRUCTURED)]
    assert titles == ["Storage", "Storage > Backups", "Storage > Restore"]


def test_python_by_definitions() -> None:
    """Functions with their decorators, classes, methods, and what is between them under the module's name."""
    assert _places("src/money.py", PYTHON) == [
        ("money", 1, 3),
        ("money.rounded", 6, 9),
        ("money.Account", 12, 13),
        ("money.Account.close", 15, 16),
        ("money", 19, 19),
    ]
    assert cut("src/money/__init__.py", PYTHON)[1].title == "money.rounded"


def test_what_does_not_parse_is_cut_all_the_same() -> None:
    """A Python file with an error is a text without sections."""
    assert _places("broken.py", "def (:\n  pass\n") == [("broken", 1, 2)]


@pytest.mark.parametrize("name", ["notes.txt", "Makefile", "main.go", "empty.md"])
def test_lines_lead_back_to_the_file(name: str) -> None:
    """Each passage is what its lines hold, none is too long, and none of the words is lost."""
    text = "\n\n".join(f"paragraph {number} " + "word " * 60 for number in range(20))
    lines = text.split("\n")

    passages = cut(name, text)

    assert len(passages) > 4
    for passage in passages:
        assert len(passage.text) <= MAX_PASSAGE_CHARACTERS
        quoted = "\n".join(lines[passage.first_line - 1 : passage.last_line]).rstrip()
        assert passage.text == quoted
    assert [word for each in passages for word in each.text.split()] == text.split()


def test_a_line_that_is_too_long() -> None:
    """It becomes several passages of the same line."""
    passages = cut("data.txt", "head\n" + "x1 " * 1000 + "\ntail")
    assert len(passages) > 3
    assert {(each.first_line, each.last_line) for each in passages[1:-1]} == {(2, 2)}


def test_nothing_to_quote() -> None:
    """A file without words has no passages; Windows line ends and form feeds do not shift the lines."""
    assert cut("rule.txt", "---\n\n===\n") == ()
    assert _places("a.md", "intro\f\r\n# One\r\ntext\r\n") == [("a", 1, 1), ("One", 2, 3)]


def test_secrets_are_hidden_and_lines_stay() -> None:
    """A key of several lines leaves as many lines behind."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----"
    (first, second) = cut("keys.md", f"# Keys\n{key}\n# After\npassword: hunter22-hunter22\n")
    assert (first.first_line, second.first_line) == (1, 6)
    assert "kqhkiG" not in first.text
    assert second.text == "# After\npassword: [hidden]"
