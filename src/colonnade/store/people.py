"""Actors and their API keys. Of a key only the digest is kept."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from colonnade.base import clock, ids
from colonnade.records import canonical
from colonnade.records.actor import Actor
from colonnade.store.database import Database
from colonnade.store.schema import actors, api_keys


class People:
    """Who may come in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def actor(self, name: str) -> Actor | None:
        """The actor with this name."""
        query = sa.select(actors.c.roles).where(actors.c.name == name)
        with self._database.read() as connection:
            roles = connection.execute(query).scalar()
        return None if roles is None else Actor(name, frozenset(msgspec.json.decode(roles)))

    def add(self, connection: sa.Connection, actor: Actor) -> None:
        """Add an actor, or give it these roles."""
        roles = canonical.encode(sorted(actor.roles)).decode()
        insert = self._database.dialect.insert(actors).values(name=actor.name, roles=roles)
        connection.execute(
            insert.on_conflict_do_update(index_elements=["name"], set_={"roles": roles})
        )

    def add_key(self, connection: sa.Connection, actor: str, sha256: str) -> str:
        """Admit the key with this digest as `actor`; returns the key's id."""
        identifier = ids.uuid7()
        connection.execute(
            api_keys.insert().values(
                id=identifier, actor=actor, sha256=sha256, made_at=clock.stamp(clock.now())
            )
        )
        return identifier

    def revoke_key(self, connection: sa.Connection, identifier: str) -> bool:
        """Shut a key out; False where there is none with this id that still opens."""
        changed = connection.execute(
            api_keys.update()
            .where(api_keys.c.id == identifier, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=clock.stamp(clock.now()))
        )
        return changed.rowcount == 1

    def keys(self) -> dict[str, str]:
        """Digest of every key that opens -> actor."""
        query = sa.select(api_keys.c.sha256, api_keys.c.actor).where(
            api_keys.c.revoked_at.is_(None)
        )
        with self._database.read() as connection:
            return {row.sha256: row.actor for row in connection.execute(query)}

    def holder(self, sha256: str) -> str | None:
        """The actor of the key with this digest, if it opens."""
        query = sa.select(api_keys.c.actor).where(
            api_keys.c.sha256 == sha256, api_keys.c.revoked_at.is_(None)
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar()

    def all(self) -> list[tuple[Actor, list[str]]]:
        """Every actor with the ids of the keys that open."""
        names = sa.select(actors.c.name).order_by(actors.c.name)
        keys = sa.select(api_keys.c.actor, api_keys.c.id).where(api_keys.c.revoked_at.is_(None))
        with self._database.read() as connection:
            known = list(connection.execute(names).scalars())
            held = [(row.actor, row.id) for row in connection.execute(keys)]
        found = [actor for name in known if (actor := self.actor(name)) is not None]
        return [(actor, [key for name, key in held if name == actor.name]) for actor in found]
