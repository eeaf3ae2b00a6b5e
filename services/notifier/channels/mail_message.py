"""A message as a mail (RFC 5322). Pure, except for its date.

It uses the policy `compat32`: newer policies of the library decode encoded words (RFC 2047) in the values of headers,
and with them line breaks.
"""

from __future__ import annotations

import email.policy
from collections.abc import Sequence
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate

from services.notifier.channels.sender import Message, one_line

_LONGEST_PLAIN_SUBJECT = 66
"""Fits on one line of 76 characters; a longer subject is written as encoded words, which may be folded."""

_TEXT = Charset("utf-8")
_TEXT.body_encoding = QP


def mail_message(message: Message, sender: str, recipients: Sequence[str]) -> bytes:
    """The mail as it is sent, with CRLF.

    Args:
        message: if it has `html`, the mail has two alternatives.
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
    # The same in every retry, so that mail servers and clients recognise a duplicate.
    made["Message-ID"] = f"<{message.message_id}@eldermesh>"
    made["Auto-Submitted"] = "auto-generated"
    return made.as_bytes(policy=email.policy.compat32.clone(linesep="\r\n"))


def _part(text: str, kind: str) -> MIMEText:
    return MIMEText(text.encode("utf-8", "replace").decode(), kind, _TEXT)  # type: ignore[arg-type]  # takes a Charset


def _subject(title: str) -> str:
    """The title on one line; as encoded words unless it is short ASCII without `=?`."""
    line = one_line(title)
    if line.isascii() and "=?" not in line and len(line) <= _LONGEST_PLAIN_SUBJECT:
        return line
    return Header(line, "utf-8", header_name="Subject").encode()
