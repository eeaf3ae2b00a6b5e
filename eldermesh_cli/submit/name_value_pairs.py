"""`NAME=VALUE` as it was typed: each name has one value, wherever it was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eldermesh_cli.program.errors import usage_error

_NOTHING_SENT = "nothing was sent"


def typed_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Names and values of an option that may be repeated.

    Raises:
        CliError: one is no pair, or a name was typed twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise usage_error(f"{option} {text!r} is not NAME=VALUE", _NOTHING_SENT)
        if name in pairs:
            raise usage_error(f"{option} {name} has two values: {pairs[name]!r} and {value!r}", _NOTHING_SENT)
        pairs[name] = value
    return pairs


def refuse_twice(pairs: Mapping[str, object], name: str, flag: str) -> None:
    """See that what has a flag of its own was not typed as a pair, too.

    Raises:
        CliError: it was.
    """
    if name in pairs:
        raise usage_error(f"{flag} beside --option {name}=…: two values for one thing", "leave one of them out")
