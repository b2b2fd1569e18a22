"""A worker's own folder of segments on its own disk: the writing side.

`<folder>/<endpoint>/<spool id>/` holds `000000000000.seg` (closed) and at most one `.open`. The
spool's id is new for every start of a worker, so a number is never used twice, and the worker
holds a lock on the folder's `lock` for as long as it lives: an open segment whose spool is not
locked belongs to a dead process, and whoever collects may take it.

Folder and lock are made with the first write, so that a disk that is full when the worker starts
is like one that fills up later. A failed write is undone: the segment ends at its last good frame
and the next write begins a new one. The number after a segment is only used once that segment is
closed, so that whoever has collected number n has collected everything before it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from colonnade.base import ids
from colonnade.serve.segment import CLOSED, Head, Sealer, SpoolKey

LOCK = "lock"
OPEN = ".open"
SEGMENT_BYTES = 16 * 1024 * 1024


class Spool:
    """Appends frames to numbered segments. Not thread-safe: one thread writes.

    Args:
        folder: of all spools of this replica.
        endpoint: whose predictions these are.
        key: what the segments are encrypted under.
        durable: `fdatasync` every frame before `write` returns.
        segment_bytes: a segment is closed when it is this large.
    """

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        key: SpoolKey,
        *,
        durable: bool,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.id = ids.uuid7()
        self.endpoint = endpoint
        self.folder = folder / endpoint / self.id
        self._lock: int | None = None
        self._key = key
        self._durable = durable
        self._segment_bytes = segment_bytes
        self._number = 0
        self._segment: _Segment | None = None

    def write(self, plain: bytes) -> int:
        """Append one frame; when this returns it is written (on disk, if durable).

        Returns:
            The bytes that it takes in the file.

        Raises:
            OSError: nothing was acknowledged, the frame is not in the spool.
        """
        segment = self._writable()
        written = segment.append(plain, durable=self._durable)
        if segment.size_bytes >= self._segment_bytes:
            with suppress(OSError):  # the frame is written; the next write finishes it or fails
                self.rotate()
        return written

    def probe(self) -> None:
        """Find out whether a write would work again.

        Raises:
            OSError: it would not.
        """
        self._writable()

    def rotate(self) -> None:
        """Close the open segment, so that it can be collected; one without frames stays open.

        Raises:
            OSError: it is still open; call again.
        """
        segment = self._segment
        if segment is not None and (segment.frames or segment.done):
            segment.finish()
            self._segment = None

    def close(self) -> None:
        """Close the open segment and give the folder up; an empty folder goes away."""
        if self._lock is None:
            shutil.rmtree(_hidden(self.folder), ignore_errors=True)
            return
        try:
            if self._segment is not None:
                self._segment.finish()
                self._segment = None
            if not any(path.name != LOCK for path in self.folder.iterdir()):
                shutil.rmtree(self.folder)
        finally:
            os.close(self._lock)

    def _writable(self) -> _Segment:
        if self._lock is None:
            self._lock = _make(self.folder)
        if self._segment is not None and self._segment.done:
            self.rotate()
        if self._segment is None:
            head = Head(
                key_id=self._key.id, endpoint=self.endpoint, spool=self.id, number=self._number
            )
            self._segment = _Segment(self.folder, head, Sealer(self._key.secret, head))
            self._number += 1
        return self._segment


@dataclass(slots=True, init=False)
class _Segment:
    """The open file of a spool.

    Attributes:
        frames: good ones, the index of the next.
        size_bytes: up to the end of the last good frame.
        done: a write failed: it takes no more frames and must be finished.
    """

    path: Path
    frames: int
    size_bytes: int
    done: bool

    _fd: int
    _sealer: Sealer

    def __init__(self, folder: Path, head: Head, sealer: Sealer) -> None:
        self.path = folder / f"{head.number:012d}{OPEN}"
        self._sealer = sealer
        self.frames = self.size_bytes = 0
        self.done = False
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            self._write(sealer.header)
            os.fsync(self._fd)
            _sync_folder(folder)
        except OSError:
            os.close(self._fd)
            self.path.unlink()
            raise

    def append(self, plain: bytes, *, durable: bool) -> int:
        before = self.size_bytes
        try:
            self._write(self._sealer.seal(self.frames, plain))
            if durable:
                os.fdatasync(self._fd)
        except OSError:
            self.done, self.size_bytes = True, before
            raise
        self.frames += 1
        return self.size_bytes - before

    def finish(self) -> None:
        """Cut what failed, make the rest durable, give it its closed name (or remove it)."""
        os.ftruncate(self._fd, self.size_bytes)
        os.fsync(self._fd)
        if self.frames == 0:
            self.path.unlink(missing_ok=True)
        elif self.path.suffix == OPEN:
            self.path = self.path.rename(self.path.with_suffix(CLOSED))
        _sync_folder(self.path.parent)
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        self.size_bytes += len(data)


def _make(folder: Path) -> int:
    """Make a locked folder, or go on where that failed; returns the lock.

    Until it is locked it has a name that no reader looks at.
    """
    made = folder if folder.is_dir() else _hidden(folder)
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(made / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)
        _sync_folder(folder.parent)
    except OSError:
        os.close(lock)
        raise
    return lock


def _hidden(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}")


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable, as `fdatasync` makes contents."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
