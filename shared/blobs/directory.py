"""The directory of a blob store that lies on this machine.

fsspec is not asked: it takes `file:///my%20data` for a name with a per cent sign, and `::` for a chain.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

_STORE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:/|:)")
_FILE = re.compile(r"(?:file|local):(?://(?:localhost)?(?=/))?(?P<path>/.*)", re.IGNORECASE | re.DOTALL)


def blob_directory(url: str) -> Path | None:
    """The directory that a file URL or a path names; None for the URL of another store.

    Raises:
        ValueError: a file URL that names no directory of this machine.
    """
    if not url.lower().startswith(("file:", "local:")):
        return None if _STORE.match(url) else Path(url).expanduser().absolute()
    found = _FILE.fullmatch(url)
    if found is None or found["path"].startswith("//") or {"?", "#", "\0"} & set(found["path"]):
        raise ValueError("a file URL is file:///PATH, with ? and # written as %3F and %23")
    return Path(os.fsdecode(unquote_to_bytes(found["path"])))
