from __future__ import annotations

import hashlib

import pytest

from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.govern import access
from colonnade.govern.session import Session
from colonnade.govern.stores import open_stores
from colonnade.records.actor import Actor
from colonnade.store import keys


@pytest.fixture
def fresh(tmp_path, open_again):
    """Stores before their first start."""
    keys.make(tmp_path / "root.key")
    return open_again()


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_first_start_makes_the_administrator_and_shows_one_key(fresh):
    text = access.first_start(fresh, "p")
    assert fresh.people.actor("admin").may("keys")
    assert fresh.people.actor("endpoint").roles == {"service"}
    assert fresh.people.keys() == {_digest(text): "admin"}
    assert text.startswith("cn_")
    assert len(text) >= 35


def test_the_key_is_shown_before_it_opens_anything(fresh):
    """Who is killed in between has seen a void key, and the next start shows another."""
    opened = []

    def killed(text):
        opened.append((text, fresh.people.keys()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        access.first_start(fresh, "p", killed)
    ((void, keys_then),) = opened
    assert keys_then == fresh.people.keys() == {}
    text = access.first_start(fresh, "p")
    assert text != void
    assert fresh.people.keys() == {_digest(text): "admin"}


def test_the_second_start_changes_nothing(fresh):
    access.first_start(fresh, "p")
    before = (fresh.people.keys(), fresh.ledger.unsealed())
    assert access.first_start(fresh, "p") is None
    assert (fresh.people.keys(), fresh.ledger.unsealed()) == before


def test_the_first_start_is_in_the_ledger_and_no_key_is(fresh):
    text = access.first_start(fresh, "p")
    entries = fresh.ledger.select()
    assert sorted((entry.verb, entry.kind) for entry in entries) == [
        ("create", "key"), ("create", "key"), ("create", "project"),
        ("grant", "actor"), ("grant", "actor"),
    ]  # fmt: skip
    assert text not in str(entries)
    root = next(entry for entry in entries if entry.subject == f"key/{fresh.keys.key_id}")
    assert root.body["ed25519"] == {key: raw.hex() for key, raw in fresh.keys.public().items()}


def test_keys_are_made_and_revoked(stores, session):
    identifier, text = access.add_key(session, stores, "endpoint")
    assert stores.people.keys()[_digest(text)] == "endpoint"
    access.revoke_key(session, stores, identifier)
    assert stores.people.keys().get(_digest(text)) is None
    verbs = [entry.verb for entry in session.entries(subject=f"key/{identifier}")]
    assert verbs == ["revoke", "create"]
    with pytest.raises(NotFoundError, match="CN-ACCESS-003"):
        access.revoke_key(session, stores, identifier)


def test_a_key_for_nobody_is_refused(stores, session):
    with pytest.raises(NotFoundError, match="CN-ACCESS-002"):
        access.add_key(session, stores, "nobody")


def test_a_new_root_key_signs_from_now_on_and_is_in_the_ledger(stores, session):
    old = stores.keys.key_id
    new = access.rotate_root(session, stores)
    assert stores.keys.key_id == new != old
    entry = session.entries(verb="rotate")[0]
    assert entry.body == {"ed25519": {new: stores.keys.public()[new].hex()}}


@pytest.mark.parametrize("role", ["viewer", "engineer", "approver", "service"])
def test_only_the_administrator_deals_with_keys(stores, role):
    session = Session(stores, Actor("somebody", frozenset({role})), "test")
    before = stores.keys.key_id
    for verb in (
        lambda: access.add_key(session, stores, "admin"),
        lambda: access.revoke_key(session, stores, "x"),
        lambda: access.rotate_root(session, stores),
    ):
        with pytest.raises(RefusedError, match="CN-ACCESS-001"):
            verb()
    assert stores.keys.key_id == before
    assert len(stores.people.keys()) == 1


def test_a_project_with_other_keys_cannot_join_a_ledger(stores, tmp_path, database_url):
    other = tmp_path / "other"
    other.mkdir()
    keys.make(other / "root.key")
    joining = open_stores(database_url, other, other / "root.key", other / "heads")
    with pytest.raises(RefusedError, match="CN-KEYS-005"):
        access.first_start(joining, "p")
    joining.database.close()
    assert [entry.kind for entry in stores.ledger.select()].count("actor") == 2


def test_another_project_with_the_same_keys_cannot_join_a_ledger(fresh, open_again):
    access.first_start(fresh, "p")
    with pytest.raises(RefusedError, match=r"CN-LEDGER-003.*project/p, and project/q was opened"):
        access.first_start(open_again(), "q")
    assert access.first_start(open_again(), "p") is None


def test_a_rotated_key_opens_the_ledger_that_the_first_one_began(stores, open_again):
    access.rotate_root(Session(stores, access.ADMIN, "test"), stores)
    assert access.first_start(open_again(), "p") is None
