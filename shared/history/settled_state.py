"""The state of a settled subject as Redis keeps it: compressed, behind the offset of its last fact.

`z1 OFFSET ` and then raw DEFLATE (RFC 1951) with a preset dictionary (`settled_state.txt`): the states of one-item jobs
are alike in all but ids, hashes, times and numbers. A packed state never changes its form: another dictionary needs
another name than `z1`.
"""

from __future__ import annotations

import zlib
from functools import cache
from importlib.resources import files
from typing import Final

from shared.errors import MeshError
from shared.history.machine import Machine, S

_NAME: Final = b"z1 "
_RAW_DEFLATE: Final = -zlib.MAX_WBITS


class DamagedStateError(MeshError):
    """What Redis has as a subject's state is none: only the log can tell it."""


def packed(state: bytes, last_offset: int) -> bytes:
    """An encoded state, packed."""
    packer = zlib.compressobj(wbits=_RAW_DEFLATE, zdict=_dictionary())
    return b"%s%d %s" % (_NAME, last_offset, packer.compress(state) + packer.flush())


def unpacked(value: bytes) -> bytes:
    """The encoded state, whether it was packed or not.

    Raises:
        ValueError: it was packed, and has been damaged since.
    """
    if not value.startswith(_NAME):
        return value
    unpacker = zlib.decompressobj(wbits=_RAW_DEFLATE, zdict=_dictionary())
    try:
        state = unpacker.decompress(value.split(b" ", 2)[2])
    except (IndexError, zlib.error) as error:
        raise ValueError("no packed state") from error
    if not unpacker.eof:
        raise ValueError("a packed state without its end")
    return state


def decoded(machine: Machine[S], value: bytes, bitmap: bytes) -> S:
    """The state that Redis has as this value, and its bitmap.

    Raises:
        DamagedStateError: it has none there.
    """
    try:
        return machine.decode(unpacked(value), bitmap)
    except ValueError as error:  # its message may quote a job
        raise DamagedStateError(f"a state in Redis cannot be read: {type(error).__name__}") from error


@cache
def _dictionary() -> bytes:
    return files(__package__).joinpath("settled_state.txt").read_bytes()
