"""What a disk refused, as an error that says where and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from colonnade.base.errors import UnavailableError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BROKEN: Final = (errno.EIO, errno.EROFS)
_AGAIN: Final = "then run the command again: what was recorded is not done again"


def refused(error: OSError, path: Path | None = None) -> UnavailableError:
    """CN-DISK-001 where the disk is full, else CN-DISK-002; `path` is what was to be written."""
    where = path or error.filename or "a file"
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return UnavailableError(
            "CN-DISK-001",
            f"the disk is full: {where} cannot be written ({reason})",
            f"free space on that disk, {_AGAIN}",
        )
    return UnavailableError(
        "CN-DISK-002",
        f"the disk fails: {where} cannot be used ({reason})",
        f"mend the disk or make the file writable, {_AGAIN}",
    )


def is_fault(error: OSError) -> bool:
    """Whether the disk itself is the trouble, and not what it was asked for."""
    return error.errno in _FULL + _BROKEN
