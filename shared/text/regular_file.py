"""Read a file that somebody else names: whatever lies there, it takes bounded time and memory."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_BLOCK_BYTES = 256 * 1024
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


class FileRefusedError(OSError):
    """What lies there is not read, and would not be at another try: no regular file, or too large a one."""


def read_regular_file(path: Path, max_bytes: int, *, follow_links: bool = True) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Anything else is not opened: a pipe would wait for a writer, a device may never end, and opening one can act. What
    takes the file's place between the look and the opening is opened without waiting, and seen then.

    Raises:
        FileRefusedError: it is no regular file, or larger; `strerror` says which.
        OSError: it cannot be read.
    """
    _require_regular(os.stat(path, follow_symlinks=follow_links), path)  # noqa: PTH116 - a link is not followed
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow_links else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        _require_regular(status, path)
        # Files of /proc say that they are empty, and others grow: what is read counts, too.
        content = bytearray()
        is_larger = status.st_size > max_bytes
        while not is_larger and (block := os.read(descriptor, _BLOCK_BYTES)):
            content += block
            is_larger = len(content) > max_bytes
    finally:
        os.close(descriptor)
    if is_larger:
        raise FileRefusedError(errno.EFBIG, f"larger than {max_bytes // 1024} KiB", str(path))
    return bytes(content)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(status.st_mode)), "something else")
        raise FileRefusedError(errno.EINVAL, f"{kind}, no regular file", str(path))
