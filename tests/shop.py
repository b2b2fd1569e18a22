"""A real database of somebody else, with a table of orders.

SQLite, PostgreSQL or MariaDB, each a server that the tests start.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pymysql
from sqlalchemy import make_url

from tests import mariadb
from tests.postgresql import server

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = ("sqlite", "postgresql", "mysql")
_TIMES = {"sqlite": "TEXT", "postgresql": "TIMESTAMPTZ", "mysql": "DATETIME(6)"}


class Shop:
    """One database, until it is closed."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        if kind == "sqlite":
            self.url = f"sqlite:///{folder / 'shop.db'}"
            self._say = sqlite3.connect(folder / "shop.db", isolation_level=None)
            self._close = self._say.close
        elif kind == "postgresql":
            self.url = server().create()
            self._say = psycopg.connect(self.url, autocommit=True)
            self._close = self._say.close
        else:
            self._mysql()
        self.say(f"CREATE TABLE orders (id INTEGER, amount NUMERIC(10, 2), at {_TIMES[kind]})")

    def say(self, statement: str, *values: object) -> None:
        """One statement; ``?`` stands for a value."""
        mark = "?" if self.kind == "sqlite" else "%s"
        self._say.execute(statement.replace("?", mark), values)

    def order(self, number: int, minutes: float, amount: float = 1.5) -> None:
        """A new order."""
        self.say("INSERT INTO orders VALUES (?, ?, ?)", number, amount, self.at(minutes))

    def move(self, number: int, minutes: float) -> None:
        """An order that was changed."""
        self.say("UPDATE orders SET at = ? WHERE id = ?", self.at(minutes), number)

    def at(self, minutes: float) -> object:
        """A moment as the database takes it."""
        moment = FIRST + timedelta(minutes=minutes)
        if self.kind == "mysql":
            return moment.replace(tzinfo=None)
        return moment if self.kind != "sqlite" else moment.strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        """Give the connection back."""
        self._close()

    def _mysql(self) -> None:
        self.url = mariadb.server().create()
        url = make_url(self.url)
        connection = pymysql.connect(
            host=url.host, port=url.port or 3306, user=url.username, password=url.password or "",
            database=url.database, autocommit=True,
        )  # fmt: skip
        self._say, self._close = connection.cursor(), connection.close
        self._say.execute("DROP TABLE IF EXISTS orders, gone")
