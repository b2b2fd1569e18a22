"""A real database of somebody else, with a table of orders: SQLite, PostgreSQL."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from tests.postgresql import server

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = ("sqlite", "postgresql")


class Shop:
    """A database of somebody else, with one table of orders."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        if kind == "sqlite":
            self.url = f"sqlite:///{folder / 'shop.db'}"
            self._connection = sqlite3.connect(folder / "shop.db", isolation_level=None)
        else:
            self.url = server().create()
            self._connection = psycopg.connect(self.url, autocommit=True)
        time = "TEXT" if kind == "sqlite" else "TIMESTAMPTZ"
        self.say(f"CREATE TABLE orders (id INTEGER, amount NUMERIC(10, 2), at {time})")

    def say(self, statement: str, *values: object) -> None:
        mark = "?" if self.kind == "sqlite" else "%s"
        self._connection.execute(statement.replace("?", mark), values)

    def order(self, number: int, minutes: float, amount: float = 1.5) -> None:
        self.say("INSERT INTO orders VALUES (?, ?, ?)", number, amount, self.at(minutes))

    def move(self, number: int, minutes: float) -> None:
        self.say("UPDATE orders SET at = ? WHERE id = ?", self.at(minutes), number)

    def at(self, minutes: float) -> object:
        moment = FIRST + timedelta(minutes=minutes)
        return moment if self.kind != "sqlite" else moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        self._connection.close()
