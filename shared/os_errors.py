"""Which errors of the operating system pass by themselves, and which will be the same at every attempt."""

from __future__ import annotations

import errno
import os
from typing import Final

PASSING: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC})
"""Something has run out for now: processes, memory, descriptors, space. Any other errno says that the input, the
settings or the machine are wrong, and trying again would hide the reason."""


def passes(error: OSError) -> bool:
    """Whether what failed may succeed a little later, unchanged."""
    return error.errno in PASSING


def told_passes(reason: str) -> bool:
    """The same of a reason in words, as a leash tells it of its command (`…: {strerror}`)."""
    return reason.strip().endswith(tuple(os.strerror(number) for number in PASSING))
