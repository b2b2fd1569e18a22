"""What differs between the databases of other people: drivers, types, errors, read-only."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Final, cast
from urllib.parse import quote

import polars as pl
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from colonnade.records.source import TABLE, CursorValue, Sql
from colonnade.store.origins.columns import INSTANT, dtype_of, not_taken

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 (a clock without a zone)
_WORDS: Final = {"integer": "integer", "real": "number", "text": "text"}
_AT_ONCE: Final = 400  # columns whose kinds are asked for in one statement


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an error of a database means.

    Attributes:
        quote: whether its words may be repeated: they hold no cell.
    """

    code: str
    found: str
    fix: str
    quote: bool = True


_SILENT: Final = Verdict(
    "CN-PULL-004", "the database does not answer", "see that its server runs, then run again"
)
_DENIED: Final = Verdict(
    "CN-PULL-005", "the database does not let this user in", "mend user, password or rights", False
)
_QUERY: Final = Verdict(
    "CN-PULL-006", "the database cannot answer the query", "mend the declaration of the source"
)
_WRITES: Final = Verdict(
    "CN-PULL-003", "the query would change the database", "write one that only reads"
)
_VALUE: Final = Verdict(
    "CN-PULL-006",
    "the database or its driver met a value that it cannot give",
    "leave the value or its column out of the query, or cast it to text",
    False,
)


class Foreign(ABC):
    """One kind of database."""

    extra: ClassVar[str]
    text_cursor: ClassVar[bool]
    loose: ClassVar[bool]

    @abstractmethod
    def engine(self, url: sa.URL, timeout_s: float) -> sa.Engine:
        """How it is reached."""

    @abstractmethod
    def begin(self, connection: sa.Connection, timeout_s: float) -> None:
        """Begin a transaction that sees one state and cannot write."""

    @abstractmethod
    def columns(
        self, connection: sa.Connection, source: str, origin: Sql, what: str
    ) -> Mapping[str, pl.DataType]:
        """Names and types of what a FROM gives."""

    @abstractmethod
    def value(self, point: CursorValue) -> object:
        """A point of the cursor as the driver wants it."""

    @abstractmethod
    def verdict(self, error: BaseException) -> Verdict:
        """What an error means."""

    @abstractmethod
    def errors(self) -> tuple[type[BaseException], ...]:
        """What the driver raises beside SQLAlchemy."""

    @abstractmethod
    def cut(self, driver: Any) -> None:  # noqa: ANN401 (a connection of any driver)
        """End the wait for an answer, from another thread."""


class Sqlite(Foreign):
    """A file."""

    extra = "sqlite"
    text_cursor = True  # it has no type for times, and compares texts by their bytes
    loose = True

    def engine(self, url: sa.URL, timeout_s: float) -> sa.Engine:
        """The file, opened such that it is neither made nor written."""
        where = f"file:{quote(url.database or '')}?mode=ro"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                where, uri=True, timeout=min(timeout_s, 60), check_same_thread=False
            )

        return sa.create_engine("sqlite://", creator=connect, poolclass=NullPool)

    def begin(self, connection: sa.Connection, timeout_s: float) -> None:
        """Only reading; the state is the one of the first look."""
        del timeout_s
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")

    def columns(
        self, connection: sa.Connection, source: str, origin: Sql, what: str
    ) -> Mapping[str, pl.DataType]:
        """A column has no type: each value has one, so that all are asked."""
        with connection.execute(sa.text(f"SELECT * FROM {source} LIMIT 0")) as result:  # noqa: S608
            names = list(result.keys())
        declared = _declared(connection, origin.query)
        found: dict[str, pl.DataType] = {}
        for first in range(0, len(names), _AT_ONCE):
            some = names[first : first + _AT_ONCE]
            for name, (least, most) in zip(some, _kinds(connection, source, some), strict=True):
                if least == "blob":
                    raise not_taken(what, name, "holds bytes", f"SELECT hex({name}) AS {name}, ...")
                present = {_WORDS[kind] for kind in (least, most) if kind is not None}
                found[name] = dtype_of(present) if present else declared.get(name, pl.String())
        return found

    def value(self, point: CursorValue) -> object:
        """Texts and integers as they are."""
        return point.value

    def verdict(self, error: BaseException) -> Verdict:
        """By what it says: it has no numbers for it."""
        said = str(error)
        if re.search("locked|interrupted|busy|disk I/O", said):
            return _SILENT
        if "readonly" in said or "read-only" in said:
            return _WRITES
        if "unable to open" in said:
            return Verdict("CN-PULL-006", "there is no such database", "mend its address")
        return _VALUE if "decode" in said else _QUERY

    def errors(self) -> tuple[type[BaseException], ...]:
        """Those of the standard library."""
        return (sqlite3.Error,)

    def cut(self, driver: Any) -> None:  # noqa: ANN401
        """Interrupt the query."""
        with suppress(sqlite3.Error):
            driver.interrupt()


def _kinds(
    connection: sa.Connection, source: str, names: list[str]
) -> Iterator[tuple[str | None, str | None]]:
    """The first and the last kind of each column's values: blob, integer, real, text."""
    quote_name = connection.dialect.identifier_preparer.quote_identifier
    quoted = [quote_name(name).replace(":", "\\:") for name in names]
    kinds = [f"nullif(typeof({name}), 'null')" for name in quoted]
    asked = ", ".join(f"min({kind}), max({kind})" for kind in kinds)
    found = connection.execute(sa.text(f"SELECT {asked} FROM {source}")).one()  # noqa: S608
    return zip(found[::2], found[1::2], strict=True)


def _declared(connection: sa.Connection, query: str) -> dict[str, pl.DataType]:
    """What the columns of a table are called to be; for those that hold nothing yet."""
    if not TABLE.fullmatch(query):
        return {}
    words = {"INT": pl.Int64(), "REAL": pl.Float64(), "FLOA": pl.Float64(), "DOUBLE": pl.Float64()}
    rows = connection.execute(
        sa.text("SELECT name, upper(type) FROM pragma_table_info(:name)"),
        {"name": query.rpartition(".")[2]},
    )
    return {
        name: next((dtype for word, dtype in words.items() if word in kind), pl.String())
        for name, kind in rows
    }


class Postgresql(Foreign):
    """PostgreSQL, with psycopg."""

    extra = "postgresql"
    text_cursor = False  # its order of texts depends on the language
    loose = False
    _TYPES: ClassVar[dict[int, pl.DataType]] = {
        16: pl.Boolean(),
        20: pl.Int64(), 21: pl.Int64(), 23: pl.Int64(), 26: pl.Int64(),
        700: pl.Float64(), 701: pl.Float64(),
        18: pl.String(), 19: pl.String(), 25: pl.String(), 1042: pl.String(), 1043: pl.String(),
        2950: pl.String(),
        1082: pl.Date(), 1114: pl.Datetime("us"), 1184: INSTANT,
    }  # fmt: skip
    _NUMERIC = 1700
    _STATES: ClassVar = (
        (_DENIED, "28|42501"), (_WRITES, "25006"), (_QUERY, "42|3D|3F|0A"), (_VALUE, "2[012]"),
    )  # fmt: skip
    _WORDS: ClassVar = (
        (_DENIED, "authentication failed|no password|pg_hba|role .* does not exist"),
        (_QUERY, "database .* does not exist"),
        (_VALUE, "too large|too small"),
    )

    def engine(self, url: sa.URL, timeout_s: float) -> sa.Engine:
        """One connection that ends with the pull."""
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            poolclass=NullPool,
            connect_args={
                "application_name": "colonnade",
                "connect_timeout": max(2, min(10, int(timeout_s))),
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "tcp_user_timeout": 60_000,
            },
        )

    def begin(self, connection: sa.Connection, timeout_s: float) -> None:
        """Read only, whatever the query tries; times in UTC."""
        for statement in (
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            "SET default_transaction_read_only = on",
            f"SET statement_timeout = {int(timeout_s * 1000)}",
            "SET TIME ZONE 'UTC'",
            "SET client_encoding = 'UTF8'",
        ):
            connection.exec_driver_sql(statement)

    def columns(
        self, connection: sa.Connection, source: str, origin: Sql, what: str
    ) -> Mapping[str, pl.DataType]:
        """What the server says of an answer without rows."""
        del origin
        found: dict[str, pl.DataType] = {}
        for name, code, _, _, precision, scale, *_ in _described(connection, source):
            if code == self._NUMERIC:
                whole = scale == 0 and precision is not None and precision <= 18
                found[name] = pl.Int64() if whole else pl.Float64()
            else:
                found[name] = self._TYPES.get(code) or self._other(connection, what, name, code)
        return found

    def _other(self, connection: sa.Connection, what: str, name: str, code: int) -> pl.DataType:
        """A type of the database's own is taken where it is a kind of text."""
        asked = sa.text("SELECT typname, typcategory FROM pg_type WHERE oid = :code")
        word, category = connection.execute(asked, {"code": code}).one()
        if category in ("S", "E"):
            return pl.String()
        cast = f"encode({name}, 'hex')" if word == "bytea" else f"{name}::text"
        raise not_taken(
            what, name, f"has the type {word}, which a contract cannot name",
            f"write it as a text, SELECT {cast} AS {name}, ..., or leave it out",
        )  # fmt: skip

    def value(self, point: CursorValue) -> object:
        """Times as Python has them."""
        return _python(point)

    def verdict(self, error: BaseException) -> Verdict:
        """By the class of its SQLSTATE; an attempt to connect has only words."""
        state = getattr(error, "sqlstate", None) or ""
        said = str(error)
        for verdict, pattern in self._STATES:
            if state and re.match(pattern, state):
                return verdict
        for verdict, pattern in self._WORDS:
            if re.search(pattern, said):
                return verdict
        return _SILENT

    def errors(self) -> tuple[type[BaseException], ...]:
        """Those of the driver, which is there once it has connected."""
        import psycopg  # noqa: PLC0415 (an extra)

        return (psycopg.Error,)

    def cut(self, driver: Any) -> None:  # noqa: ANN401
        """Shut the socket: the driver waits for nothing else."""
        with suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


class Mysql(Foreign):
    """MySQL and MariaDB, with PyMySQL."""

    extra = "mysql"
    text_cursor = False
    loose = False
    _TYPES: ClassVar[dict[int, pl.DataType]] = {
        1: pl.Int64(), 2: pl.Int64(), 3: pl.Int64(), 8: pl.Int64(), 9: pl.Int64(), 13: pl.Int64(),
        4: pl.Float64(), 5: pl.Float64(),
        7: pl.Datetime("us"), 12: pl.Datetime("us"), 10: pl.Date(),
        15: pl.String(), 247: pl.String(), 248: pl.String(), 249: pl.String(), 250: pl.String(),
        251: pl.String(), 252: pl.String(), 253: pl.String(), 254: pl.String(),
    }  # fmt: skip
    _DECIMALS = (0, 246)

    def engine(self, url: sa.URL, timeout_s: float) -> sa.Engine:
        """One connection that ends with the pull."""
        return sa.create_engine(
            url.set(drivername=f"{url.get_backend_name()}+pymysql"),
            poolclass=NullPool,
            connect_args={
                "connect_timeout": max(2, min(10, int(timeout_s))),
                "read_timeout": timeout_s,
                "write_timeout": timeout_s,
                "charset": "utf8mb4",
            },
        )

    def begin(self, connection: sa.Connection, timeout_s: float) -> None:
        """Read only, in one state; times in UTC."""
        del timeout_s
        for statement in (
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SET SESSION TRANSACTION READ ONLY",
            "SET time_zone = '+00:00'",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ):
            connection.exec_driver_sql(statement)

    def columns(
        self, connection: sa.Connection, source: str, origin: Sql, what: str
    ) -> Mapping[str, pl.DataType]:
        """What the server says of an answer without rows."""
        del origin
        found: dict[str, pl.DataType] = {}
        for name, code, _, _, precision, scale, *_ in _described(connection, source):
            if code in self._DECIMALS:
                whole = scale == 0 and precision <= 18
                found[name] = pl.Int64() if whole else pl.Float64()
            elif code in self._TYPES:
                found[name] = self._TYPES[code]
            else:
                raise not_taken(
                    what, name, f"has the type {code}, which a contract cannot name",
                    f"write it as a text, CAST({name} AS CHAR) AS {name}, or leave it out",
                )  # fmt: skip
        return found

    def value(self, point: CursorValue) -> object:
        """Times as Python has them, without a zone."""
        found = _python(point)
        return found.replace(tzinfo=None) if isinstance(found, datetime) else found

    def verdict(self, error: BaseException) -> Verdict:
        """By its number."""
        number = error.args[0] if error.args else None
        if number in (1044, 1045, 1142, 1143, 1227, 1698):
            return _DENIED
        if number in (1290, 1792):
            return _WRITES
        if number in (1046, 1049, 1051, 1054, 1064, 1146, 1060, 1248, 1370):
            return _QUERY
        return _VALUE if number in (1264, 1292, 1365, 1366, 1411) else _SILENT

    def errors(self) -> tuple[type[BaseException], ...]:
        """Those of the driver, which is there once it has connected."""
        import pymysql  # noqa: PLC0415 (an extra)

        return (pymysql.err.Error,)

    def cut(self, driver: Any) -> None:  # noqa: ANN401
        """Nothing: the driver itself waits no longer than it was told."""
        del driver


def _described(connection: sa.Connection, source: str) -> Iterator[tuple[Any, ...]]:
    """What a driver says of the columns of an answer without rows."""
    with connection.execute(sa.text(f"SELECT * FROM {source} LIMIT 0")) as result:  # noqa: S608
        yield from cast("Any", result.cursor).description


DIALECTS: Final[Mapping[str, type[Foreign]]] = {
    "sqlite": Sqlite,
    "postgresql": Postgresql,
    "mysql": Mysql,
    "mariadb": Mysql,
}


def _python(point: CursorValue) -> object:
    if point.kind == "date":
        return date(1970, 1, 1) + timedelta(days=int(point.value))
    if point.kind in ("timestamp", "zoneless"):
        moment = _EPOCH + timedelta(microseconds=int(point.value))
        return moment.replace(tzinfo=UTC) if point.kind == "timestamp" else moment
    return point.value
