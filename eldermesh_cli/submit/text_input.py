"""Read the file or standard input that a verb was given: bounded, as UTF-8."""

from __future__ import annotations

import codecs
import select
import sys
from io import RawIOBase
from pathlib import Path

from eldermesh_cli.program.errors import usage_error
from eldermesh_cli.terminal.safe_text import escaped_name

STDIN = "-"

_NOTHING_SENT = "nothing was sent"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    # Before UTF-16, whose mark is the beginning of this one.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def read_given(path: str, max_bytes: int) -> bytes:
    """The content of a file, or of standard input for `-`, as UTF-8 and without a byte order mark at its beginning.

    A mark is how Windows begins a file, and says what it is written in; it is no content. Pipes are read, too: a shell
    names one for `<(command)`. What has no mark is passed on as it is.

    Raises:
        CliError: it cannot be read, is larger, or is not what its mark says.
    """
    try:
        if path == STDIN:
            raw = _read_stdin(max_bytes + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise usage_error(f"{given_name(path)} cannot be read: {why}", _NOTHING_SENT) from error
    if len(raw) > max_bytes:
        raise usage_error(f"{given_name(path)} has more than {max_bytes} bytes", _NOTHING_SENT)
    return _without_mark(raw, path)


def read_given_text(path: str, max_bytes: int) -> str:
    """The same as text.

    Raises:
        CliError: as `read_given`, or it is not UTF-8.
    """
    try:
        return read_given(path, max_bytes).decode()
    except UnicodeDecodeError as error:
        raise usage_error(f"{given_name(path)} is not UTF-8", _NOTHING_SENT) from error


def given_name(path: str) -> str:
    """What to call it in a message."""
    return "standard input" if path == STDIN else escaped_name(path)


def _without_mark(raw: bytes, path: str) -> bytes:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            content = raw.removeprefix(mark)
            try:
                return content if mark is codecs.BOM_UTF8 else content.decode(encoding).encode()
            except UnicodeError as error:
                raise usage_error(
                    f"{given_name(path)} begins with the mark of {encoding.upper()}, and is something else",
                    _NOTHING_SENT,
                ) from error
    return raw


def _read_stdin(max_bytes: int) -> bytes:
    stream: RawIOBase | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise ValueError("it is closed")
    content = bytearray()
    while len(content) < max_bytes:
        block = stream.read(max_bytes - len(content))
        if block is None:  # somebody has made it one that does not wait
            select.select([stream], [], [])
        elif not block:
            break
        else:
            content += block
    return bytes(content)
