"""What was pushed: files that last before they are acknowledged, and their receipts.

A file without a receipt was never acknowledged: nobody takes it over, and it is swept away when
it is too old to belong to a request that is still being answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from colonnade.base import clock, ids
from colonnade.records import canonical
from colonnade.records.push import Receipt
from colonnade.store import durable
from colonnade.store.database import Database
from colonnade.store.schema import pushes

ORPHAN_S: Final = 3600.0  # longer than any request may take
_SUFFIX: Final = ".parquet"


class Inbox:
    """Every source's pushes."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    @contextmanager
    def incoming(self, source: str) -> Iterator[Path]:
        """A name for the bytes that arrive, in a folder of the source; gone at the end.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002.
        """
        folder = self._root / source
        if not folder.is_dir():
            with durable.writing(folder):
                self._root.mkdir(mode=0o700, exist_ok=True)
                folder.mkdir(mode=0o700, exist_ok=True)
                durable.sync(self._root)
                durable.sync(self._root.parent)
        path = folder / f".{ids.uuid7()}.incoming"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def path(self, source: str, batch: str) -> Path:
        """Where the rows of a push are until they are in the table."""
        return self._root / source / f"{batch}{_SUFFIX}"

    def keep(self, source: str, batch: str, written: Path) -> Path:
        """Make a file last under the name of its push.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002; it is not there.
        """
        path = self.path(source, batch)
        with durable.writing(path):
            durable.sync(written)
            written.replace(path)
            durable.sync(path.parent)
        return path

    def discard(self, source: str, batch: str) -> None:
        """Take away the file of a push that was not acknowledged, or is in the table."""
        self.path(source, batch).unlink(missing_ok=True)

    def add(self, connection: sa.Connection, receipt: Receipt) -> None:
        """Acknowledge a push, in the transaction of its entry."""
        values = {**asdict(receipt), "shape": canonical.encode(receipt.shape).decode()}
        connection.execute(pushes.insert().values(values))

    def find(self, source: str, key: str) -> Receipt | None:
        """The receipt of this key."""
        with self._database.read() as connection:
            return self.found(connection, source, key)

    def found(self, connection: sa.Connection, source: str, key: str) -> Receipt | None:
        """The receipt of this key, as a transaction sees it."""
        query = sa.select(pushes).where(pushes.c.source == source, pushes.c.key == key)
        row = connection.execute(query).first()
        return None if row is None else _receipt(row)

    def last(self, connection: sa.Connection, source: str) -> int:
        """The number of the newest push, 0 where there is none."""
        query = sa.select(sa.func.max(pushes.c.number)).where(pushes.c.source == source)
        return int(connection.execute(query).scalar() or 0)

    def after(self, source: str, number: int, limit: int | None = None) -> list[Receipt]:
        """The pushes behind `number`, in their order."""
        query = (
            sa.select(pushes)
            .where(pushes.c.source == source, pushes.c.number > number)
            .order_by(pushes.c.number)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_receipt(row) for row in connection.execute(query)]

    def sweep(self, source: str, waiting: set[str]) -> None:
        """Delete files of pushes that are in the table, and of requests that never ended."""
        before_s = clock.now_s() - ORPHAN_S
        folder = self._root / source
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.removesuffix(_SUFFIX) not in waiting and path.stat().st_mtime < before_s:
                path.unlink(missing_ok=True)


def _receipt(row: sa.Row[Any]) -> Receipt:
    fields = dict(row._mapping)  # noqa: SLF001 (SQLAlchemy's documented name)
    fields["shape"] = canonical.decode(fields["shape"])
    return Receipt(**fields)
