"""What is hidden in quotations, and what is not."""

from __future__ import annotations

import time

import pytest

from shared.text.secret_masks import HIDDEN, excerpt, masked

MIXED = "aB3" * 12
SECRETS = [
    ("password=correcthorse", "correcthorse"),
    ('"db_password": "hunter2hunter2"', "hunter2hunter2"),
    ("API_KEY = 'a1b2c3d4'", "a1b2c3d4"),
    ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
    ("postgres://anna:s3cret@db/x", "s3cret"),
    ("key sk-" + "ant-api03-abcdefgh", "ant-api03"),
    ("use ghp_" + "abcdefgh1234", "abcdefgh1234"),
    ("AKIA" + "ABCDEFGHIJKLMNOP here", "ABCDEFGHIJKLMNOP"),
    (f"value {MIXED} end", MIXED),
    ("digest " + "0123456789abcdef" * 2, "0123456789abcdef"),
]
HARMLESS = [
    "def read(token: Token, tokens: list[str]) -> None:",
    "the password must be changed every year",
    "token = tokenize(line)",
    "see docs/operations/how-to-recover-from-a-lost-broker-node.md",
    "4f970e3e-d1a3-5d45-8587-591465c16100",
]


@pytest.mark.parametrize(("text", "secret"), SECRETS, ids=[str(number) for number in range(len(SECRETS))])
def test_secrets(text: str, secret: str) -> None:
    """The secret is gone, and that something was there is said."""
    assert secret not in masked(text)
    assert HIDDEN in masked(text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none(text: str) -> None:
    """Prose and code stay as they are."""
    assert masked(text) == text


def test_excerpt() -> None:
    """One line, cut, with secrets hidden before it is cut."""
    assert excerpt("two\n  lines", 20) == "two lines"
    assert excerpt("x" * 30, 10) == "x" * 9 + "…"
    assert excerpt(f"why: {MIXED}", 16) == f"why: {HIDDEN}"


@pytest.mark.parametrize("piece", ["a-", "token", "-----BEGIN PRIVATE KEY-----", "://a:", "aB3", "password = "])
def test_hostile_texts_take_no_time(piece: str) -> None:
    """Half a megabyte of the same piece is done in well under the five seconds that it may take here."""
    began = time.process_time()
    masked(piece * (500_000 // len(piece)))
    assert time.process_time() - began < 5
