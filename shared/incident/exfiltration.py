"""Orders to send private data away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shared.incident.texts import may_hold

MAX_SPAN: Final = 220
"""Characters from the verb or the data, whichever comes first, to the place where it is sent."""

_WORDS = re.compile(
    r"(?P<send>\b(?:send|post|upload|exfiltrate|e-?mail|forward|transmit|leak|submit"
    r"|report|append|encode|beacon|deliver)\b)"
    r"|(?P<data>\b(?:secrets?|environment variables?|env vars?|id_rsa|id_ed25519|ssh keys?"
    r"|private keys?|credentials?|api[_ -]?keys?"
    r"|(?:access |auth )?tokens?|passwords?|conversation|chat history|system prompt|cookies|kubeconfig|keychain)\b"
    r"|\.env\b|~/\.ssh|/etc/(?:passwd|shadow)|\.aws/credentials|\.netrc)"
    r"|(?P<away>https?://|\bto\s{1,2}[\w.+-]{1,64}@[\w-]{1,63}\.|\bwebhook\b|\bpastebin\b|\b(?:attacker|evil)\b"
    r"|\b[\w.-]{1,60}\.(?:ngrok|oast|burpcollaborator)\b)"
    r"|(?P<line>\n)",
    re.IGNORECASE,
)  # fmt: skip
_PLACES = ("http", "@", "webhook", "pastebin", "attacker", "evil", ".ngrok", ".oast", ".burpcollaborator")
_PICTURE = re.compile(r"!\[[^\]\n]{0,60}\]\(https?://[^)\s]{1,120}[?&=/](?:\{|<|\[|%7b)[^)\n]{0,60}\)", re.IGNORECASE)


def exfiltrations(text: str) -> Iterator[tuple[int, int]]:
    """Where a line has a verb of sending, private data, then a place outside; or a picture whose address holds data."""
    if not may_hold(text.lower(), _PLACES):
        return
    sent: int | None = None
    data: int | None = None
    for word in _WORDS.finditer(text):
        match word.lastgroup:
            case "send":
                sent = word.start()
            case "data":
                data = word.start()
            case "away":
                if sent is not None and data is not None and word.end() - min(sent, data) <= MAX_SPAN:
                    yield min(sent, data), word.end()
            case _:
                sent = data = None
    for picture in _PICTURE.finditer(text):
        yield picture.span()
