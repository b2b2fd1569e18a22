"""Files that are there whole after a power cut, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from colonnade.base import ids


def write(path: Path, data: bytes) -> None:
    """Write a whole file or none: temporary name, fsync, rename, fsync of the folder."""
    with _whole(path) as file:
        file.write(data)


def copy(source: Path, path: Path) -> None:
    """Copy a whole file or none."""
    with source.open("rb") as given, _whole(path) as file:
        shutil.copyfileobj(given, file)


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    temporary = path.with_name(f".{path.name}.{ids.uuid7()}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make the contents of a file, or the names in a folder, last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
