"""Leases: the right of one owner to write something, with a fence that grows at each change.

A holder that was stopped and comes back finds its fence stale: `confirm` refuses its late write
inside the very transaction that would have made it.
"""

from __future__ import annotations

import sqlalchemy as sa

from colonnade.base import clock
from colonnade.base.errors import RefusedError
from colonnade.records.job import Lease
from colonnade.store import process
from colonnade.store.database import Database
from colonnade.store.schema import leases


def acquire(
    database: Database, connection: sa.Connection, name: str, owner: str, ttl_s: float
) -> Lease | None:
    """Take a free or expired lease, or that of a dead process; None while another holds it."""
    now_s = clock.now_s()
    holder = connection.execute(sa.select(leases.c.owner).where(leases.c.name == name)).scalar()
    gone = holder if holder is not None and process.is_gone(holder) else ""
    insert = database.dialect.insert(leases).values(
        name=name, owner=owner, fence=1, until=now_s + ttl_s
    )
    taken = insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"owner": owner, "fence": leases.c.fence + 1, "until": now_s + ttl_s},
        where=sa.or_(leases.c.until < now_s, leases.c.owner == gone),
    ).returning(leases.c.fence)
    fence = connection.execute(taken).scalar()
    return None if fence is None else Lease(name, owner, fence)


def confirm(connection: sa.Connection, lease: Lease, ttl_s: float) -> None:
    """Prolong a lease inside a transaction that depends on it.

    Raises:
        RefusedError: CN-LEASE-001, another one has taken it since.
    """
    held = connection.execute(
        leases.update().where(*_mine(lease), leases.c.until > 0).values(until=clock.now_s() + ttl_s)
    )
    if held.rowcount != 1:
        raise RefusedError(
            "CN-LEASE-001",
            f"the lease {lease.name!r} (fence {lease.fence}) was lost while this process worked",
            "run the command again; what is recorded already is not done again",
        )


def release(connection: sa.Connection, lease: Lease) -> None:
    """Give a lease back; a lost one stays with its new holder."""
    connection.execute(leases.update().where(*_mine(lease)).values(until=0.0))


def _mine(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        leases.c.name == lease.name,
        leases.c.owner == lease.owner,
        leases.c.fence == lease.fence,
    )
