"""Making actors and API keys. What a role permits is data: ``records.actor.ROLES``."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Final

from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.govern.change import Change
from colonnade.govern.session import Session
from colonnade.govern.stores import Stores
from colonnade.records.actor import Actor, Role
from colonnade.records.ref import Ref

ADMIN: Final = Actor("admin", frozenset[Role]({"admin"}))
ENDPOINT: Final = Actor("endpoint", frozenset[Role]({"service"}))


def first_start(
    stores: Stores, project: str, show: Callable[[str], None] = lambda _: None
) -> str | None:
    """Make the local administrator and its API key; None where that was done before.

    Args:
        stores: of a project that may be new.
        project: its id, which the ledger keeps: a database belongs to one project.
        show: told the key's text before the key opens anything: who is killed in between has
            seen a key that is void, and the next start shows another.

    Returns:
        The key's text. Only its digest is kept.

    Raises:
        RefusedError: CN-KEYS-005, the ledger was begun with other root keys; CN-LEDGER-003, by
            another project.
    """
    text = None
    if stores.people.actor(ADMIN.name) is None:
        text = _begin(stores, project, show)
    if text is None:
        _check_keys(stores)
        _check_project(stores, project)
    return text


def _begin(stores: Stores, project: str, show: Callable[[str], None]) -> str | None:
    with stores.database.write() as connection:
        stores.database.dialect.queue(connection, "first start")
        if stores.people.actor(ADMIN.name) is not None:  # another process was faster
            return None
        change = Change(stores, connection, ADMIN.name)
        change.append("create", Ref("project", project), {})
        for actor in (ADMIN, ENDPOINT):
            stores.people.add(connection, actor)
            change.append("grant", Ref("actor", actor.name), {"roles": sorted(actor.roles)})
        public = {key: value.hex() for key, value in stores.keys.public().items()}
        change.append("create", Ref("key", stores.keys.key_id), {"ed25519": public})
        text = _new_key()
        identifier = stores.people.add_key(connection, ADMIN.name, _digest(text))
        change.append("create", Ref("key", identifier), {"actor": ADMIN.name})
        show(text)
    return text


def _check_keys(stores: Stores) -> None:
    """Two projects in one database, or a key file that was made anew, would spoil the ledger."""
    if not any(
        stores.ledger.select(kind="key", subject=str(Ref("key", key)), limit=1)
        for key in stores.keys.public()
    ):
        raise RefusedError(
            "CN-KEYS-005",
            f"the ledger of this database was begun with other root keys; key "
            f"{stores.keys.key_id!r} is none of them",
            "put the project's own key file back, or give this project a database of its own",
        )


def _check_project(stores: Stores, project: str) -> None:
    """The keys do not tell two projects apart that were given one key file."""
    begun = stores.ledger.select(kind="project", verb="create", limit=1)
    if begun and begun[0].subject != (opened := str(Ref("project", project))):
        raise RefusedError(
            "CN-LEDGER-003",
            f"the ledger of this database was begun by {begun[0].subject}, and {opened} was opened",
            "name this project's own database (database_url, COLONNADE_DATABASE_URL)",
        )


def holder(stores: Stores, sha256: str) -> Actor | None:
    """Whose API key this is, by its digest; None where it opens nothing (any more)."""
    name = stores.people.holder(sha256)
    return None if name is None else stores.people.actor(name)


def add_key(session: Session, stores: Stores, actor: str) -> tuple[str, str]:
    """Make an API key for an actor; returns its id and its text, which is shown once.

    Raises:
        NotFoundError: CN-ACCESS-002, there is no such actor.
        RefusedError: CN-ACCESS-001.
    """
    session.require("keys", Ref("actor", actor))
    if stores.people.actor(actor) is None:
        raise NotFoundError("CN-ACCESS-002", f"there is no actor {actor!r}", "colonnade access who")
    text = _new_key()
    with stores.database.write() as connection:
        identifier = stores.people.add_key(connection, actor, _digest(text))
        change = Change(stores, connection, session.actor.name)
        change.append("create", Ref("key", identifier), {"actor": actor})
    return identifier, text


def who(session: Session, stores: Stores) -> list[tuple[Actor, list[str]]]:
    """Every actor, with the ids of the API keys that open.

    Raises:
        RefusedError: CN-ACCESS-001.
    """
    session.require("keys", Ref("project", "actors"))
    return stores.people.all()


def revoke_key(session: Session, stores: Stores, identifier: str) -> None:
    """Shut an API key out from now on.

    Raises:
        NotFoundError: CN-ACCESS-003, no key with this id opens.
        RefusedError: CN-ACCESS-001.
    """
    session.require("keys", Ref("key", identifier))
    with stores.database.write() as connection:
        if not stores.people.revoke_key(connection, identifier):
            raise NotFoundError(
                "CN-ACCESS-003", f"no key {identifier!r} opens anything", "colonnade access who"
            )
        Change(stores, connection, session.actor.name).append("revoke", Ref("key", identifier), {})


def rotate_root(session: Session, stores: Stores) -> str:
    """Sign and encrypt with a new root key from now on; what the old one wrote stays readable.

    Raises:
        RefusedError: CN-ACCESS-001.
    """
    session.require("keys", Ref("key", "root"))
    key_id = stores.keys.rotate()
    public = stores.keys.public()[key_id].hex()
    session.record("keys", "rotate", Ref("key", key_id), {"ed25519": {key_id: public}})
    return key_id


def _new_key() -> str:
    return "cn_" + secrets.token_urlsafe(24)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
