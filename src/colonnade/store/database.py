"""One metadata database: opening, migrating, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from colonnade.base.errors import RefusedError, UnavailableError, UsageError
from colonnade.store.dialects import Dialect
from colonnade.store.dialects.sqlite import Sqlite

REVISION: Final = "0001"  # the newest migration; a test holds it to the folder
DIALECTS: Final[dict[str, type[Dialect]]] = {"sqlite": Sqlite}


class Database:
    """A migrated database and its dialect."""

    def __init__(self, url: str) -> None:
        """Open and migrate.

        Raises:
            UsageError: CN-DATABASE-001, no dialect for this URL.
            UnavailableError: CN-DATABASE-002, it does not answer.
            RefusedError: CN-DATABASE-003, a newer release made it.
        """
        self.dialect: Dialect = DIALECTS[_backend(url)]()
        self._engine = self.dialect.engine(url)
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state and changes nothing."""
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that commits at its end, or leaves nothing behind."""
        with self._transaction(write=True) as connection:
            yield connection

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(self._engine.connect())
                    stack.enter_context(connection.begin())
                    self.dialect.begin(connection, write=write)
                except DatabaseError as error:
                    raise self._unavailable(error) from error
                yield connection
        except OperationalError as error:  # in the middle or at the commit
            raise self._unavailable(error) from error

    def _unavailable(self, error: DatabaseError) -> UnavailableError:
        return UnavailableError(
            "CN-DATABASE-002",
            f"the database {self._engine.url.render_as_string()} cannot be used: {error.orig}",
            "check that it is there, that this user may write it, that the disk has room "
            "and that no other command is stuck; then run the command again",
        )

    def _migrate(self) -> None:
        found = self._revision()
        if found == REVISION:
            return
        if found is not None and found > REVISION:
            raise RefusedError(
                "CN-DATABASE-003",
                f"the database is at revision {found}, this release knows {REVISION}",
                "use the release of colonnade that made it, or a newer one",
            )
        # Loaded only when there is something to migrate: it costs every command 0.2 s otherwise.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _revision(self) -> str | None:
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _backend(url: str) -> str:
    try:
        name = sa.make_url(url).get_backend_name()
    except ArgumentError:
        name = "none"
    if name not in DIALECTS:
        raise UsageError(
            "CN-DATABASE-001",
            f"no dialect for a database of kind {name!r}",
            f"set database_url to one that begins with: {', '.join(DIALECTS)}",
        )
    return name
