"""The newest facts of a table by key, for whoever asks thousands of times a second.

One LMDB file a table: any number of processes read it without waiting while one writes, and what
a transaction wrote is there whole or not at all. A key holds what is true of it now, and what the
table already knows to become true or known later; the reader's clock decides.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import disk_usage
from typing import Final

import lmdb
import msgspec

from colonnade.base import disk
from colonnade.records.online import Fact, Key, Published
from colonnade.store import durable

MAX_BYTES: Final = 1 << 36  # of address space, not of disk: the file is as large as its pages
_LONGEST_KEY: Final = 480  # LMDB takes 511 bytes
_PAGES_BYTES: Final = 1 << 20
_FACTS: Final = b"facts"
_META: Final = b"meta"


class Online:
    """All online tables under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, lmdb.Environment] = {}

    def publish(
        self, table: str, published: Published, facts: Iterable[tuple[Key, Sequence[Fact]]]
    ) -> bool:
        """Put a version in the place of an older one; False where it, or a newer one, is there.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002: the version before is there unchanged.
        """
        pairs = sorted((_packed(key), _values(found)) for key, found in facts)
        folder = self._root / table
        with self._writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            environment = self._environment(table)
            kept, meta = environment.open_db(_FACTS), environment.open_db(_META)
            with environment.begin(write=True) as transaction:
                found = transaction.get(_META, db=meta)
                if found is not None and _meta(found).version >= published.version:
                    return False
                transaction.drop(kept, delete=False)
                with transaction.cursor(kept) as cursor:
                    cursor.putmulti(pairs, append=True)
                transaction.put(_META, msgspec.msgpack.encode(published), db=meta)
        return True

    def published(self, table: str) -> Published | None:
        """The version that is there, None where none is."""
        if not (self._root / table / "data.mdb").exists():
            return None
        environment = self._environment(table)
        with environment.begin(db=environment.open_db(_META)) as transaction:
            found = transaction.get(_META)
        return None if found is None else _meta(found)

    def get(self, table: str, key: Key, now_us: int) -> dict[str, object] | None:
        """What is true of a key and known at a moment that is not before the publishing."""
        if not (self._root / table / "data.mdb").exists():
            return None
        environment = self._environment(table)
        kept, meta = environment.open_db(_FACTS), environment.open_db(_META)
        with environment.begin() as transaction:
            found, about = transaction.get(_packed(key), db=kept), transaction.get(_META, db=meta)
        if found is None or about is None:
            return None
        for seen_us, values in reversed(msgspec.msgpack.decode(found)):
            if seen_us <= now_us:
                return dict(zip(_meta(about).columns, values, strict=True))
        return None

    def close(self) -> None:
        """Let the files go."""
        while self._open:
            self._open.popitem()[1].close()

    def _environment(self, table: str) -> lmdb.Environment:
        """The table's file, opened once a process, as LMDB demands."""
        if table not in self._open:
            self._open[table] = lmdb.open(
                str(self._root / table), map_size=MAX_BYTES, max_dbs=2, max_readers=1024
            )
        return self._open[table]

    @contextmanager
    def _writing(self, folder: Path) -> Iterator[None]:
        try:
            with durable.writing(folder):
                yield
        except lmdb.Error as error:
            # A write that the full disk cut short is told as one that failed.
            full = isinstance(error, lmdb.DiskError) or disk_usage(folder).free < _PAGES_BYTES
            number = errno.ENOSPC if full else errno.EIO
            raise disk.refused(OSError(number, os.strerror(number)), folder) from error


def _packed(key: Key) -> bytes:
    packed = msgspec.msgpack.encode(list(key))
    return packed if len(packed) <= _LONGEST_KEY else b"\xc1" + sha256(packed).digest()


def _values(facts: Sequence[Fact]) -> bytes:
    return msgspec.msgpack.encode([(fact.seen_us, fact.values) for fact in facts])


def _meta(found: bytes) -> Published:
    return msgspec.msgpack.decode(found, type=Published)
