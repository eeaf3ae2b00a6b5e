"""A message as a mail (RFC 5322). Pure, except for its date.

Nothing that came from outside is parsed as a header here, in either direction: the library's newer policies decode
encoded words (RFC 2047) in what they are given, and line ends inside of them.
"""

from __future__ import annotations

import email.policy
from collections.abc import Sequence
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate

from services.notifier.channels.lines import one_line
from services.notifier.channels.sender import Message

_LONGEST_PLAIN_SUBJECT = 66
"""What stands on one line of 76 characters; a longer one is written as encoded words, which may be folded."""

_TEXT = Charset("utf-8")
_TEXT.body_encoding = QP


def mail_message(message: Message, sender: str, recipients: Sequence[str]) -> bytes:
    """The mail as it is sent, with CRLF.

    Args:
        message: what is told; with `html` there are two alternatives.
        sender: an address.
        recipients: addresses: the first in `To`, the others in `Cc`.
    """
    made: MIMEMultipart | MIMEText
    if message.html is None:
        made = _part(message.body, "plain")
    else:
        made = MIMEMultipart("alternative", _subparts=[_part(message.body, "plain"), _part(message.html, "html")])
    made["Subject"] = _subject(message.title)
    made["From"] = sender
    made["To"] = recipients[0]
    if len(recipients) > 1:
        made["Cc"] = ", ".join(recipients[1:])
    made["Date"] = formatdate()
    # The same in every repeat, so that mail servers and clients can tell one.
    made["Message-ID"] = f"<{message.message_id}@eldermesh>"
    made["Auto-Submitted"] = "auto-generated"
    return made.as_bytes(policy=email.policy.compat32.clone(linesep="\r\n"))


def _part(text: str, kind: str) -> MIMEText:
    return MIMEText(text.encode("utf-8", "replace").decode(), kind, _TEXT)  # type: ignore[arg-type]  # takes a Charset


def _subject(title: str) -> str:
    """The title on one line; as encoded words unless it is short, plain ASCII that looks like none."""
    line = one_line(title)
    if line.isascii() and "=?" not in line and len(line) <= _LONGEST_PLAIN_SUBJECT:
        return line
    return Header(line, "utf-8", header_name="Subject").encode()
