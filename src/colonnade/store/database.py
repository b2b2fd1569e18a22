"""One metadata database: opening, migrating, transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from colonnade.base.errors import UnavailableError, UsageError
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
        """
        name = sa.make_url(url).get_backend_name()
        if name not in DIALECTS:
            raise UsageError(
                "CN-DATABASE-001",
                f"no dialect for a database of kind {name!r}",
                f"set database.url to one of: {', '.join(DIALECTS)}",
            )
        self.dialect: Dialect = DIALECTS[name]()
        self._engine = self.dialect.engine(url)
        try:
            self._migrate()
        except OperationalError as error:
            raise UnavailableError(
                "CN-DATABASE-002",
                f"the database {sa.make_url(url).render_as_string()} cannot be used: {error.orig}",
                "check that it is there, that this user may write it and that the disk has room",
            ) from error

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
        with self._engine.connect() as connection, connection.begin():
            self.dialect.begin(connection, write=write)
            yield connection

    def _migrate(self) -> None:
        if self._revision() == REVISION:
            return
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
