"""What differs between databases, and nothing else."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.postgresql import Insert as PostgresqlInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert


class Dialect(Protocol):
    """The differences that the one body of SQL asks for."""

    def engine(self, url: str) -> Engine:
        """Open the database with the settings that durability and waiting need."""

    def begin(self, connection: Connection, *, write: bool) -> None:
        """Start a transaction; a writing one waits its turn here and not in the middle."""

    def queue(self, connection: Connection, name: str) -> None:
        """Wait until no other writing transaction that queued for `name` is open.

        What is read after that and depends on `name` stays true until the transaction ends.
        """

    def insert(self, table: Table) -> SqliteInsert | PostgresqlInsert:
        """An INSERT that knows ON CONFLICT."""
