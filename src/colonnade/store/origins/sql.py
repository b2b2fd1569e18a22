"""Tables and queries of other databases, read in one transaction that cannot write.

Rows are streamed from a cursor of the server, a batch at a time, in one state of the database.
What differs between databases is in `dialects`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Final

import polars as pl
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from colonnade.base.errors import ColonnadeError, UnavailableError, UsageError
from colonnade.records.source import TABLE, CursorValue, Sql, unended
from colonnade.store.origins import secret
from colonnade.store.origins.columns import frame, not_taken
from colonnade.store.origins.dialects import DIALECTS, Foreign

BATCH: Final = 50_000
_CURSORS: Final[dict[type[pl.DataType], str]] = {
    pl.Int64: "integer",
    pl.Date: "date",
    pl.String: "text",
}


@contextmanager
def open_sql(origin: Sql, key: Sequence[str], what: str) -> Iterator[Query]:
    """Ask a database for the rows of a source.

    Args:
        origin: the declaration.
        key: columns that rows of one cursor value are ordered by.
        what: the source, for messages.

    Raises:
        UsageError: CN-PULL-002 to 003 and 005 to 008: what is wrong with address, rights, query
            or columns.
        UnavailableError: CN-PULL-004, it does not answer; CN-PULL-009, the driver is missing.
    """
    text = secret.resolve(origin.url)
    dialect, url = _dialect(text, origin, what)
    engine = dialect.engine(url, origin.timeout_s)
    said = _Said(dialect, origin, what, (text, url.password))
    try:
        with said.refused(), engine.connect() as connection:
            dialect.begin(connection, origin.timeout_s)
            yield Query(connection, said, key)
    finally:
        engine.dispose()


def _dialect(text: str, origin: Sql, what: str) -> tuple[Foreign, sa.URL]:
    try:
        url = sa.make_url(text)
        name = url.get_backend_name()
    except (ArgumentError, ValueError):
        name, url = "none", sa.URL.create("none")
    if name not in DIALECTS:
        raise UsageError(
            "CN-PULL-002",
            f"{what}: {origin.url} holds no address of a database that can be asked",
            "let it hold sqlite:///path, postgresql://user:password@host/database or "
            "mysql://user:password@host/database",
        )
    return DIALECTS[name](), url


class _Said:
    """What a database says, as one error that names the source and quotes no cell or secret."""

    def __init__(
        self, dialect: Foreign, origin: Sql, what: str, secrets: Sequence[str | None]
    ) -> None:
        self.dialect = dialect
        self.origin = origin
        self.what = what
        self._secrets = secrets

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Say plainly what the database refused."""
        try:
            yield
        except ColonnadeError:
            raise
        except ModuleNotFoundError as error:
            raise UnavailableError(
                "CN-PULL-009",
                f"{self.what}: the package {error.name} is not installed",
                f"pip install 'colonnade[{self.dialect.extra}]'",
            ) from None
        except DBAPIError as error:
            raise self._error(error.orig or error) from None  # its text may hold cells
        except OSError as error:
            raise self._error(error) from None
        except self.dialect.errors() as error:
            raise self._error(error) from None

    def _error(self, error: BaseException) -> ColonnadeError:
        verdict = self.dialect.verdict(error)
        first = " ".join(str(error).split("\nDETAIL")[0].split())[:300]
        words = f": {secret.hidden(first, *self._secrets)}" if verdict.quote else ""
        message = f"{self.what}: {verdict.found} ({self.origin.url}){words}"
        kind = UnavailableError if verdict.code == "CN-PULL-004" else UsageError
        return kind(verdict.code, message, verdict.fix)


class Query:
    """A table or a query in one state of its database."""

    ordered = True

    def __init__(self, connection: sa.Connection, said: _Said, key: Sequence[str]) -> None:
        self._connection = connection
        self._said = said
        self._dialect = said.dialect
        self.loose = said.dialect.loose
        self._origin = said.origin
        self._from = _from(connection, said.origin.query)
        with self._timed():
            self.columns: Mapping[str, pl.DataType] = self._dialect.columns(
                connection, self._from, said.origin, said.what
            )
        self._check()
        by = [] if self._origin.cursor is None else [self._origin.cursor]
        self._order = [*by, *(name for name in key if name not in by)]
        for name in self._order:
            if name not in self.columns:
                raise self._no_column(name)

    def rows(
        self, since: CursorValue | None, below: CursorValue | None = None, only: Sequence[str] = ()
    ) -> Iterator[pl.DataFrame]:
        """See `Rows.rows`."""
        schema = {name: self.columns[name] for name in only or self.columns}
        where, values = "", {}
        if since is not None:
            where = f" WHERE {self._cursor} >= :since OR {self._cursor} IS NULL"
            values = {"since": self._dialect.value(since)}
        elif below is not None:
            where, values = f" WHERE {self._cursor} < :below", {"below": self._dialect.value(below)}
        order = f" ORDER BY {', '.join(map(self._quoted, self._order))}" if self._order else ""
        names = ", ".join(map(self._quoted, schema))
        statement = sa.text(f"SELECT {names} FROM {self._from}{where}{order}")  # noqa: S608
        with self._timed():
            result = self._connection.execution_options(
                stream_results=True, max_row_buffer=BATCH, yield_per=BATCH
            ).execute(statement, values)
        with result:
            while True:
                with self._timed():
                    found = result.fetchmany(BATCH)
                if not found:
                    return
                yield frame(found, schema, self._said.what)

    def count(self, upto: CursorValue) -> int | None:
        """See `Rows.count`."""
        statement = sa.text(
            f"SELECT count(*) FROM {self._from} "  # noqa: S608
            f"WHERE {self._cursor} <= :upto OR {self._cursor} IS NULL"
        )
        with self._timed():
            value = {"upto": self._dialect.value(upto)}
            return int(self._connection.execute(statement, value).scalar_one())

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Cut the line to a database that does not answer in time: a driver may wait for good."""
        driver = self._connection.connection.driver_connection
        timer = Timer(self._origin.timeout_s + 1, self._dialect.cut, (driver,))
        timer.daemon = True
        timer.start()
        try:
            with self._said.refused():
                yield
        finally:
            timer.cancel()

    @property
    def _cursor(self) -> str:
        return self._quoted(self._origin.cursor or "")

    def _quoted(self, name: str) -> str:
        quoted = self._connection.dialect.identifier_preparer.quote_identifier(name)
        return quoted.replace(":", "\\:")  # SQLAlchemy would take it for a parameter

    def _check(self) -> None:
        cursor = self._origin.cursor
        if cursor is None:
            return
        if cursor not in self.columns:
            raise self._no_column(cursor)
        dtype = self.columns[cursor]
        kind = _CURSORS.get(dtype.base_type(), "timestamp" if dtype.is_temporal() else "none")
        if kind == "none" or (kind == "text" and not self._dialect.text_cursor):
            raise UsageError(
                "CN-PULL-008",
                f"{self._said.what}: the cursor {cursor} is {dtype}, expected an integer, a date "
                "or a timestamp",
                f"name such a column, or cast it in the query: CAST({cursor} AS timestamp)",
            )

    def _no_column(self, name: str) -> UsageError:
        return not_taken(
            self._said.what,
            name,
            "is named as cursor or key and is not in the answer",
            f"the columns are: {', '.join(list(self.columns)[:20])}",
        )


def _from(connection: sa.Connection, query: str) -> str:
    if TABLE.fullmatch(query):
        quote = connection.dialect.identifier_preparer.quote_identifier
        return ".".join(map(quote, query.split("."))) + " AS pulled"
    bare = unended(query).replace(":", "\\:")
    return f"(\n{bare}\n) AS pulled"  # a line of its own: it may end in a comment
