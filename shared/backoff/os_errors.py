"""Which errors pass by themselves, since something has run out for now, and which are the same at every attempt."""

from __future__ import annotations

import errno
import os
from typing import Final

PASSING: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT})
"""Something has run out for now: processes, memory, descriptors, space, a quota. Any other errno says that the input,
the settings or the machine are wrong, and trying again would hide the reason."""


_NO_THREAD = "can't start new thread"
"""What `threading` says for EAGAIN."""


def passes(error: BaseException) -> bool:
    """Whether what failed may succeed a little later, unchanged."""
    if isinstance(error, OSError):
        return error.errno in PASSING
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD)


def told_passes(reason: str) -> bool:
    """The same of a reason in words, as a leash tells it of its command (`…: {strerror}`)."""
    return reason.strip().endswith(tuple(os.strerror(number) for number in PASSING))
