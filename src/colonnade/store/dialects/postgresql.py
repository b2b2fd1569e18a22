"""PostgreSQL: many writers at a time, each waiting only for those that want the same thing."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.engine.interfaces import DBAPIConnection

from colonnade.base.errors import UnavailableError

CONNECTIONS: Final = 16  # of one process, at most
_SETTINGS: Final = (
    "SET lock_timeout = '30s'",  # a writer that never ends is said and not waited for
    # A process that was stopped within a transaction must not hold the others up for good.
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET client_encoding = 'UTF8'",
    # A commit that was reported survives a power cut, also where the server's default is faster.
    (
        "SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') = 'off'"
    ),
)
_CONNECT: Final = {
    "application_name": "colonnade",
    "connect_timeout": 10,
    # A network that went away without a word is noticed within a minute.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_TURN: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


class Postgresql:
    """The database of several machines."""

    def engine(self, url: str) -> Engine:
        """Open the database named by the URL.

        Raises:
            UnavailableError: CN-DATABASE-005, the driver is not installed.
        """
        try:
            engine = create_engine(
                _encrypted(make_url(url)).set(drivername="postgresql+psycopg"),
                connect_args=_CONNECT,
                pool_size=CONNECTIONS,
                max_overflow=0,
                pool_pre_ping=True,  # the server may have been restarted since
            )
        except ModuleNotFoundError as error:
            raise UnavailableError(
                "CN-DATABASE-005",
                f"PostgreSQL needs the package {error.name}, which is not installed",
                "pip install 'colonnade[postgresql]'",
            ) from error
        event.listen(engine, "connect", _prepare)
        return engine

    def begin(self, connection: Connection, *, write: bool) -> None:
        """A reading transaction sees one state; a writing one sees what others have committed."""
        if not write:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def queue(self, connection: Connection, name: str) -> None:
        """An advisory lock, given back when the transaction ends."""
        connection.execute(_TURN, {"name": name})

    def insert(self, table: Table) -> Insert:
        """PostgreSQL's INSERT … ON CONFLICT."""
        return insert(table)


def _encrypted(url: URL) -> URL:
    """Over a network only to a server whose certificate is verified, unless the URL says else."""
    hosts = [url.host or "", *str(url.query.get("host", "")).split(",")]
    if "sslmode" in url.query or all(map(_is_near, hosts)):
        return url
    return url.update_query_dict({"sslmode": "verify-full"})


def _is_near(host: str) -> bool:
    """Whether a server is reached without leaving this machine; no name is libpq's own socket."""
    if host in ("", "localhost") or host.startswith("/"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    for setting in _SETTINGS:
        cursor.execute(setting)
    cursor.close()
    connection.commit()
