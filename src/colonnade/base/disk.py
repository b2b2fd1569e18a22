"""What a disk refused, as an error that says where and what to do."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

from colonnade.base.errors import UnavailableError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BROKEN: Final = (errno.EIO, errno.EROFS)
_AGAIN: Final = "then run the command again: what was recorded is not done again"
_NUMBER: Final = re.compile(r"\(os error (\d+)\)")  # how libraries in Rust hide it in their text


def refused(error: Exception, path: Path | None = None) -> UnavailableError:
    """What to say: CN-DISK-001 the disk is full, CN-DISK-002 it fails, CN-SYSTEM-001 it may not be.

    Args:
        error: what the system or a library raised.
        path: what was to be written; else what the error names.
    """
    number = number_of(error)
    where = path or getattr(error, "filename", None) or "a file"
    reason = os.strerror(number) if number else str(error)
    if number in _FULL:
        return UnavailableError(
            "CN-DISK-001",
            f"the disk is full: {where} cannot be written ({reason})",
            f"free space on that disk, {_AGAIN}",
        )
    if number is not None and number not in _BROKEN:
        return UnavailableError(
            "CN-SYSTEM-001",
            f"the operating system refuses {where}: {reason}",
            f"make it a file that can be read and written, {_AGAIN}",
        )
    return UnavailableError(
        "CN-DISK-002",
        f"the disk fails: {where} cannot be used ({reason})",
        f"mend the disk or make the file writable, {_AGAIN}",
    )


def number_of(error: Exception) -> int | None:
    """The system's number of an error, None where the system did not raise it."""
    number = getattr(error, "errno", None)
    found = _NUMBER.search(str(error))
    return number if isinstance(number, int) else (int(found[1]) if found else None)


def is_fault(error: Exception) -> bool:
    """Whether the disk itself is the trouble, and not what it was asked for."""
    return number_of(error) in _FULL + _BROKEN
