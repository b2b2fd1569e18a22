"""One metadata database: opening, migrating, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from colonnade.base.errors import RefusedError, UnavailableError, UsageError
from colonnade.store.dialects import Dialect
from colonnade.store.dialects.postgresql import Postgresql
from colonnade.store.dialects.sqlite import Sqlite

REVISION: Final = "0002"  # the newest migration; a test holds it to the folder
DIALECTS: Final[dict[str, type[Dialect]]] = {"sqlite": Sqlite, "postgresql": Postgresql}


class Database:
    """A migrated database and its dialect."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        """Open, and migrate unless somebody only wants to look.

        Raises:
            UsageError: CN-DATABASE-001, no dialect for this URL.
            UnavailableError: CN-DATABASE-002, it does not answer.
            RefusedError: CN-DATABASE-003, a newer release made it.
        """
        self.dialect: Dialect = DIALECTS[backend(url)]()
        self._shown = sa.make_url(url).render_as_string()  # without the password
        self._engine = self.dialect.engine(url)
        try:
            if migrate:
                self._migrate()
        except BaseException:
            self.close()
            raise

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

    def close(self) -> None:
        """Give idle connections back; what is asked after that opens new ones."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection, connection.begin():
                self.dialect.begin(connection, write=write)
                yield connection
        except IntegrityError:  # two wanted the same: whoever wrote knows what that means
            raise
        except DataError as error:
            raise UsageError(
                "CN-DATABASE-004",
                f"the database cannot hold a value: {_words(error)}",
                "leave out what the message names; nothing was written",
            ) from error
        except (DBAPIError, PoolTimeoutError, self._engine.dialect.loaded_dbapi.Error) as error:
            raise UnavailableError(
                "CN-DATABASE-002",
                f"the database {self._shown} cannot be used: {_words(error)}",
                "check that it is there (and its server runs), that this user may write it, that "
                "the disk has room and that no other command is stuck; then run the command again",
            ) from error

    def _migrate(self) -> None:
        with self.read() as connection:
            found = revision(connection)
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
            self.dialect.queue(connection, "migrate")  # whoever comes second finds it done
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def revision(connection: sa.Connection) -> str | None:
    """The newest migration that was made, None where there is none yet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _words(error: Exception) -> str:
    """The first line of what the database itself said."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return str(said).strip().partition("\n")[0]


def backend(url: str) -> str:
    """The kind of database that a URL names.

    Raises:
        UsageError: CN-DATABASE-001, no dialect for it.
    """
    try:
        name = sa.make_url(url).get_backend_name()
    except (ArgumentError, ValueError):
        name = "none"
    if name not in DIALECTS:
        raise UsageError(
            "CN-DATABASE-001",
            f"no dialect for a database of kind {name!r}",
            f"set database_url to one that begins with: {', '.join(DIALECTS)}",
        )
    return name
