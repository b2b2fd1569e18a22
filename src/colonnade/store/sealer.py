"""The sealer: numbers, chains and signs what was appended.

A business transaction inserts unsealed entries; the sealer gives them their number in the order
in which it finds them, so that writers never wait for one another's hash and a late commit gets
a later number, never a gap. A batch is one transaction under the row lock of one lease: two
sealers cannot fork the chain. Heads are exported outside the database, because whoever can
rewrite all of it could also rewrite the chain.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec
import sqlalchemy as sa

from colonnade.base import clock
from colonnade.base.errors import UnavailableError
from colonnade.records import canonical
from colonnade.records.entry import GENESIS, Entry, Head, merkle_root, seal
from colonnade.store import leases
from colonnade.store.database import Database
from colonnade.store.ledger import read_entry
from colonnade.store.schema import entries, heads

BATCH: Final = 5_000
_LEASE: Final = "sealer"
_HEAD: Final = b'{"at":"'  # how the canonical JSON of a head begins
_TTL_S: Final = 10.0
_LOCK_S: Final = 5.0  # how long to wait for another process that exports
_POLL_S: Final = 0.05
_TAIL_BYTES: Final = 65_536  # of the export file; a head has about 500


class Signer(Protocol):
    """Signs bytes with the project's newest key."""

    @property
    def key_id(self) -> str:
        """Which key signs now."""

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature."""


class Sealer:
    """Seals on demand; call it before a command exits, or every second in a server."""

    def __init__(self, database: Database, signer: Signer, owner: str, export: Path) -> None:
        """Bind the sealer; every head is appended to `export` as a JSON line."""
        self._database = database
        self._signer = signer
        self._owner = owner
        self._export = export
        self._whole = False  # whether this process knows that no killed one left heads behind

    def seal(self) -> int:
        """Seal everything that waits; returns how many entries that were.

        Raises:
            UnavailableError: CN-LEDGER-001, sealed, but the heads cannot be exported.
        """
        total, count = 0, BATCH if self._waits() else 0
        while count == BATCH:
            with self._database.write() as connection:
                lease = leases.acquire(self._database, connection, _LEASE, self._owner, _TTL_S)
                count = self._batch(connection) if lease else 0
                if lease:
                    leases.release(connection, lease)
            total += count
        if total or (not self._whole and self._export.exists()):  # one that is gone is missed
            self.export()
        self._whole = True
        return total

    def export(self) -> None:
        """Append the heads that the export file lacks; a line torn by a crash is mended first.

        Raises:
            UnavailableError: CN-LEDGER-001, the file cannot be written, or it ends in a line
                that is no head.
        """
        try:
            self._export.parent.mkdir(parents=True, exist_ok=True)
            with self._export.open("ab+") as file:
                _lock(file)
                for text in self._newer(_mend(file)):
                    file.write(text.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except (OSError, msgspec.DecodeError) as error:
            raise UnavailableError(
                "CN-LEDGER-001",
                f"signed heads cannot be exported to {self._export}: {error}",
                "make the file writable, put it back from your backup, or name another place "
                "with COLONNADE_HEADS_FILE; the entries are sealed",
            ) from error

    def _touch(self) -> None:
        """Make the file before there is a head: from then on, one that is not there is gone."""
        with suppress(OSError):  # `export` says what is wrong with the place
            self._export.parent.mkdir(parents=True, exist_ok=True)
            self._export.touch()

    def _newer(self, last: int) -> list[str]:
        query = sa.select(heads.c.head).where(heads.c.last > last).order_by(heads.c.last)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def _waits(self) -> bool:
        """Asked without a write: a server asks every second, and mostly nothing waits."""
        query = sa.select(entries.c.id).where(entries.c.seq.is_(None)).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def _batch(self, connection: sa.Connection) -> int:
        waiting = connection.execute(
            sa.select(entries).where(entries.c.seq.is_(None)).order_by(entries.c.id).limit(BATCH)
        )
        batch = [read_entry(row) for row in waiting]
        if not batch:
            return 0
        tail = connection.execute(
            sa.select(entries.c.seq, entries.c.hash)
            .where(entries.c.seq.is_not(None))
            .order_by(entries.c.seq.desc())
            .limit(1)
        ).first()
        if tail is None:
            self._touch()
        seq, prev = (tail.seq, tail.hash) if tail else (0, GENESIS)
        sealed = list(_chain(batch, seq, prev))
        connection.execute(
            entries.update()
            .where(entries.c.id == sa.bindparam("which"))
            .values(seq=sa.bindparam("n"), prev_hash=sa.bindparam("p"), hash=sa.bindparam("h")),
            sealed,
        )
        self._sign(connection, seq + 1, [str(row["h"]) for row in sealed])
        return len(batch)

    def _sign(self, connection: sa.Connection, first: int, hashes: Sequence[str]) -> None:
        newest = connection.execute(
            sa.select(heads.c.head).order_by(heads.c.last.desc()).limit(1)
        ).scalar()
        head = Head(
            first=first,
            last=first + len(hashes) - 1,
            root=merkle_root([bytes.fromhex(text) for text in hashes]).hex(),
            last_hash=hashes[-1],
            prev=GENESIS if newest is None else canonical.sha256(newest.encode()),
            at=clock.stamp(clock.now()),
            key_id=self._signer.key_id,
        )
        head = replace(head, signature=self._signer.sign(head.signed_bytes()).hex())
        connection.execute(
            heads.insert().values(last=head.last, head=canonical.encode(head).decode())
        )


def _lock(file: BinaryIO) -> None:
    """Wait for others that export; not for ever, for one may have been stopped."""
    until_s = clock.now_s() + _LOCK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.now_s() > until_s:
                raise
            time.sleep(_POLL_S)
        else:
            return


def _mend(file: BinaryIO) -> int:
    """Cut off a torn last line; returns the last entry that the file's heads cover."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    whole, newline, torn = file.read().rpartition(b"\n")
    if not newline and not torn.startswith(_HEAD[: len(torn)]):
        raise OSError(errno.EEXIST, "it holds something else than heads")
    last = canonical.read_json(whole.rpartition(b"\n")[2], Head).last if newline else 0
    file.truncate(size - len(torn))
    return last


def _chain(batch: Iterable[Entry], seq: int, prev: str) -> Iterator[dict[str, str | int]]:
    for number, entry in enumerate(batch, start=seq + 1):
        digest = seal(entry, number, prev)
        yield {"which": entry.id, "n": number, "p": prev, "h": digest}
        prev = digest
