"""SQLite in WAL mode: one writer at a time, readers never wait."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.pool import NullPool

from colonnade.base import clock

BUSY_MS: Final = 30_000
_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_MS}",
    "PRAGMA synchronous = FULL",  # a commit that was reported survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # a deleted key must not stay in a free page
)


class Sqlite:
    """The embedded database."""

    def engine(self, url: str) -> Engine:
        """Open the file named by the URL."""
        engine = create_engine(url, connect_args={"check_same_thread": False}, poolclass=NullPool)
        event.listen(engine, "connect", _prepare)
        return engine

    def begin(self, connection: Connection, *, write: bool) -> None:
        """IMMEDIATE takes the write lock at the start, so that no upgrade can fail half way."""
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    def queue(self, connection: Connection, name: str) -> None:
        """Nothing to wait for: the writing transaction is the only one."""

    def insert(self, table: Table) -> Insert:
        """SQLite's INSERT … ON CONFLICT."""
        return insert(table)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    _use_wal(connection)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Where two processes do this to a new file at once, SQLite refuses one without waiting."""
    until_s = clock.now_s() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or clock.now_s() > until_s:
                raise
            time.sleep(0.01)
        else:
            return
