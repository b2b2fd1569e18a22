"""Files that are there whole after a power cut, or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from colonnade.base import disk, ids


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say plainly what the disk refused of a block that writes `path`.

    Raises:
        UnavailableError: CN-DISK-001, it is full; CN-DISK-002, it fails.
    """
    try:
        yield
    except OSError as error:
        raise disk.refused(error, path) from error


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name to write a file under: at the end it is made to last and gets the name `path`.

    Raises:
        UnavailableError: CN-DISK-001, CN-DISK-002; what was at `path` is there unchanged.
    """
    temporary = path.with_name(f".{path.name}.{ids.uuid7()}")
    with writing(path):
        try:
            yield temporary
            sync(temporary)
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a whole file or none: temporary name, fsync, rename, fsync of the folder."""
    with (
        whole(path) as temporary,
        open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file,
    ):
        file.write(data)


def copy(source: Path, path: Path) -> None:
    """Copy a whole file or none."""
    with whole(path) as temporary:
        shutil.copyfile(source, temporary)


def sync(path: Path) -> None:
    """Make the bytes of a file last, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that lock this folder waiting."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
