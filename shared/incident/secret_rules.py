"""Secrets: what detect-secrets finds in a text, less what only stands for one.

Its detectors are called text by text; its settings, files and baselines are not used, nor does anything verify a secret
with whoever issued it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any, Final

from shared.incident.placeholders import entropy, is_placeholder
from shared.incident.texts import windows
from shared.incident.verdict import Severity

_PLUGINS: Final = {
    "aws": ("AWSKeyDetector", "aws-key", "an AWS key"),
    "azure_storage_key": ("AzureStorageKeyDetector", "azure-key", "a key of an Azure storage account"),
    "discord": ("DiscordBotTokenDetector", "discord-token", "a Discord bot token"),
    "github_token": ("GitHubTokenDetector", "github-token", "a GitHub token"),
    "gitlab_token": ("GitLabTokenDetector", "gitlab-token", "a GitLab token"),
    "jwt": ("JwtTokenDetector", "jwt", "a JSON Web Token"),
    "npm": ("NpmDetector", "npm-token", "an npm token"),
    "openai": ("OpenAIDetector", "openai-key", "an OpenAI key"),
    "pypi_token": ("PypiTokenDetector", "pypi-token", "a PyPI token"),
    "sendgrid": ("SendGridDetector", "sendgrid-key", "a SendGrid key"),
    "slack": ("SlackDetector", "slack-token", "a Slack token or webhook"),
    "square_oauth": ("SquareOAuthDetector", "square-secret", "a Square OAuth secret"),
    "stripe": ("StripeDetector", "stripe-key", "a live Stripe key"),
    "telegram_token": ("TelegramBotTokenDetector", "telegram-token", "a Telegram bot token"),
    "twilio": ("TwilioKeyDetector", "twilio-key", "a Twilio key"),
    "basic_auth": ("BasicAuthDetector", "url-login", "a password in a URL"),
}
_MESSAGE: Final = "The text holds what looks like {what}."
_ENTROPY_LENGTH = 24
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_DIGEST_LENGTHS = frozenset({32, 40, 56, 64, 96, 128})

# Shapes that detect-secrets does not know (yet).
_SHAPES = (
    ("anthropic-key", "an Anthropic key", re.compile(r"\bsk-ant-[a-z]{2,6}\d{2}-[A-Za-z0-9_-]{40,200}")),
    ("openai-key", "an OpenAI key", re.compile(r"\bsk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,200}")),
    ("google-key", "a Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])")),
    ("github-token", "a GitHub token", re.compile(r"\bgithub_pat_[A-Za-z0-9_]{40,100}")),
    ("huggingface-token", "a Hugging Face token", re.compile(r"\bhf_[A-Za-z]{34}(?![A-Za-z0-9])")),
    ("npm-token", "an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}(?![A-Za-z0-9])")),
    # Passwords in URLs are often not encoded as they should be, which detect-secrets takes for the end.
    ("url-login", "a password in a URL", re.compile(r"://[^\s:/@]{0,64}:([^\s/@\"'<>{}$]{8,100})@[\w.-]")),
    ("bearer-token", "a bearer token", re.compile(r"\b[Bb]earer[ \t]{1,3}([A-Za-z0-9_~+/.-]{20,300})")),
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=]{40}")
_PEM_HEAD_CHARACTERS = 400
_BEFORE_NAME = r"(?<![A-Za-z])"
_NAME = re.compile(
    r"(?:api|auth|service|account|access|priv(?:ate)?|client|signing|encryption|storage)[_ -]?key"
    r"|passw(?:or)?d|passphrase"
    r"|pwd|secret(?:[_ -]?(?:access[_ -]?)?key)?|token|db[_-]?pass|credential",
    re.IGNORECASE,
)
_NAME_END = re.compile(r"\w{0,30}")
_VALUE_CHARACTERS = 200
_LEAST_LENGTH = 8
_LEAST_ENTROPY = 2.6
_LOCAL_LOGIN = re.compile(
    r"://[^\s/@]{1,200}@(?:localhost|127\.0\.0\.1|\[::1\]|(?:[\w-]{1,60}\.){0,5}example(?:\.[a-z]{2,6})?)(?![\w-])",
    re.IGNORECASE,
)
_ASSIGNS = re.compile(r"[\]\"')\s]{0,4}(?:[:=(]|!=|is\s|was\s)")
MAX_NAMES: Final = 4_000
"""Names of secrets in one text behind which a value is looked for: the time stays bounded."""
_BY_PREFIX = frozenset({"github-token", "gitlab-token"})
"""Of these the detector tells the prefix alone, which does not show a placeholder."""
_JWT_OF_THE_DOCS = "eyJzdWIiOiIxMjM0NTY3ODkw"
"""The subject 1234567890, of jwt.io and whoever copied it."""
_SAFE_PREFIXES = ("http://", "https://", "/", "./", "arn:", "sha256", "sha512", "vault:", "op://", "env:", "file:")
_SAID = re.compile(r"^[ \t]{0,3}(?:is|was)[ \t]{1,3}|^[ \t]{1,3}(?=[^ \t:=!(\"'])")
_SPOKEN = re.compile(r"passw(?:or)?d|passphrase", re.IGNORECASE)
_FOLLOWS = re.compile(r"[ \t]{1,3}[\"'`]?[^\s:=]{8}")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*[(\[.]|[A-Z][A-Z0-9_]*$|[a-z_]+(?:[.-][a-z_]+)*$")

Finding = tuple[str, Severity, str]
"""Rule, severity, message."""


Check = Callable[[], None]
"""Called between steps that take some milliseconds; raises when the judgement has taken too long."""


def _go_on() -> None:
    """There is no limit."""


def find_secrets(text: str, *, with_entropy: bool, check: Check = _go_on) -> Iterator[Finding]:
    """The rules that fire on a text, each as often as it does.

    Args:
        text: as it was sent.
        with_entropy: whether a random-looking text in quotes counts, too: among data there are many.
        check: asked for each window of the text and each name of a secret in it.
    """
    check()
    if _has_private_key(text):
        yield "secret.private-key", "high", _MESSAGE.format(what="a private key")
    if any(_is_real_value(value) for value in _assigned_values(text, check)):
        what = "a password, key or token that is given to a name"
        yield "secret.named-value", "high", _MESSAGE.format(what=what)
    for part in windows(text):
        check()
        for rule, what in _kinds(part):
            yield f"secret.{rule}", "high", _MESSAGE.format(what=what)
        if with_entropy and _has_random_text(part):
            yield "secret.high-entropy", "medium", "The text holds a random-looking value in quotes."


def rule_names() -> frozenset[str]:
    """The rules, without their class."""
    names = {rule for _, rule, _ in _PLUGINS.values()} | {rule for rule, _, _ in _SHAPES}
    return frozenset(names | {"private-key", "named-value", "high-entropy"})


def load() -> None:
    """Import the detectors, which takes some tenths of a second; else the first text does."""
    _detectors()
    _keyword_detector()
    _entropy_detectors()


@cache
def _detectors() -> tuple[tuple[Any, str, str], ...]:
    from importlib import import_module  # noqa: PLC0415 - see `load`

    return tuple(
        (getattr(import_module(f"detect_secrets.plugins.{module}"), name)(), rule, what)
        for module, (name, rule, what) in _PLUGINS.items()
    )


@cache
def _keyword_detector() -> Any:
    from detect_secrets.plugins.keyword import KeywordDetector  # noqa: PLC0415 - see `load`

    return KeywordDetector()


@cache
def _entropy_detectors() -> tuple[Any, ...]:
    from detect_secrets.plugins.high_entropy_strings import (  # noqa: PLC0415 - see `load`
        Base64HighEntropyString,
        HexHighEntropyString,
    )

    return Base64HighEntropyString(), HexHighEntropyString()


def _kinds(part: str) -> Iterator[tuple[str, str]]:
    for detector, rule, what in _detectors():
        seen = _LOCAL_LOGIN.sub("", part) if rule == "url-login" else part
        if any(_is_real(value, rule) for value in _values(detector, rule, seen)):
            yield rule, what
    for rule, what, shape in _SHAPES:
        seen = _LOCAL_LOGIN.sub("", part) if rule == "url-login" else part
        if any(_is_real(found[found.lastindex or 0], rule) for found in shape.finditer(seen)):
            yield rule, what


def _values(detector: Any, rule: str, part: str) -> Iterator[str]:
    if rule in _BY_PREFIX:
        return (found[0] for expression in detector.denylist for found in expression.finditer(part))
    values: Iterator[str] = detector.analyze_string(part)
    return values


def _is_real(value: str, rule: str) -> bool:
    if rule == "jwt":
        return _JWT_OF_THE_DOCS not in value
    from detect_secrets.filters.heuristic import is_sequential_string  # noqa: PLC0415 - see `load`

    if is_placeholder(value) or is_sequential_string(value):
        return False
    return rule not in ("bearer-token", "twilio-key") or _mixes(value)


def _assigned_values(text: str, check: Check) -> Iterator[str]:
    """Values after names of secrets."""
    from detect_secrets.plugins.keyword import (  # noqa: PLC0415 - see `load`
        CONFIG_DENYLIST_REGEX_TO_GROUP,
        QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP,
    )

    for name in islice(_NAME.finditer(text), MAX_NAMES):
        check()
        suffix = _NAME_END.match(text, name.end())
        start = suffix.end() if suffix is not None else name.end()
        if _ASSIGNS.match(text, start) is None and (
            _SPOKEN.match(name[0]) is None or _FOLLOWS.match(text, start) is None
        ):
            continue
        rest = _SAID.sub(": ", text[start : start + _VALUE_CHARACTERS].partition("\n")[0])
        # One name for all: the detector's own list lacks some.
        for expressions in (QUOTES_REQUIRED_DENYLIST_REGEX_TO_GROUP, CONFIG_DENYLIST_REGEX_TO_GROUP):
            yield from _keyword_detector().analyze_string(f"secret{rest}", expressions)


def _is_real_value(found: str) -> bool:
    value = re.split(r"[\s,;&)\]]", found.strip().strip("\"'`"), maxsplit=1)[0].strip("\"'`.")
    if not _LEAST_LENGTH <= len(value) <= _VALUE_CHARACTERS or value.lower().startswith(_SAFE_PREFIXES):
        return False
    if is_placeholder(value) or (_REFERENCE.match(value) and not any(map(str.isdigit, value))):
        return False
    from detect_secrets.filters.heuristic import is_potential_uuid, is_sequential_string  # noqa: PLC0415 - see `load`

    if is_sequential_string(value) or is_potential_uuid(value) or re.match(r"[A-Za-z_][\w.]*[(\[]", value):
        return False
    return _mixes(value) and entropy(value) >= _LEAST_ENTROPY


def _mixes(value: str) -> bool:
    """Digits and letters: hardly any word does, and nearly any secret."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _has_private_key(text: str) -> bool:
    for begin in _PEM.finditer(text):
        after = text[begin.end() : begin.end() + _PEM_HEAD_CHARACTERS].replace("\\n", "\n")
        body = _PEM_BODY.search(after)
        if body is not None and not is_placeholder(body.group()):
            return True
    return "PuTTY-User-Key-File-" in text and "Private-Lines:" in text


def _has_random_text(part: str) -> bool:
    from detect_secrets.filters.heuristic import is_likely_id_string, is_potential_uuid  # noqa: PLC0415 - see `load`

    for detector in _entropy_detectors():
        for value in detector.analyze_string(part):
            if (
                _ENTROPY_LENGTH <= len(value) <= _VALUE_CHARACTERS
                and not (len(value) in _DIGEST_LENGTHS and _HEXADECIMAL.fullmatch(value))
                and _mixes(value)
                and detector.calculate_shannon_entropy(value) > detector.entropy_limit
                and not is_placeholder(value)
                and not is_potential_uuid(value)
                and not is_likely_id_string(value, part[: part.index(value) + len(value)].rpartition("\n")[2])
                and not value.startswith(("sha", "http", "/"))
            ):
                return True
    return False
