from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from colonnade.base.errors import UsageError
from colonnade.govern.change import Change
from colonnade.records.ref import Ref


def _version(stores, kind, name, body=None, made_from=()):
    with stores.database.write() as connection:
        change = Change(stores, connection, "admin")
        return change.version("write", Ref(kind, name), lambda _: body or {}, made_from)


def test_an_entry_comes_back_as_it_was_appended(stores, append):
    entry = append("run/r", "start", {"numbers": [1, 2.5, 1e20], "text": "é"}, made_from=["file/a"])
    assert stores.ledger.get(entry.id) == entry
    assert stores.ledger.get("nobody") is None


def test_versions_count_up_by_name_and_kind(stores):
    made = [_version(stores, "table", name) for name in ("a", "b", "a")]
    made.append(_version(stores, "model", "a"))
    assert [entry.subject for entry in made] == ["table/a@1", "table/b@1", "table/a@2", "model/a@1"]
    assert stores.ledger.version(Ref("table", "a")).subject == "table/a@2"
    assert stores.ledger.version(Ref("table", "a", 1)) == made[0]
    assert stores.ledger.version(Ref("table", "a", 3)) is None
    assert stores.ledger.version(Ref("table", "c")) is None
    assert stores.ledger.names("table") == ["a", "b"]


def test_a_taken_version_cannot_be_claimed_again(stores, append):
    _version(stores, "table", "a")
    entry = append("table/a@1")
    with pytest.raises(IntegrityError), stores.database.write() as connection:
        stores.ledger.claim(connection, Ref("table", "a", 1), entry.id)


def test_what_fails_leaves_nothing_behind(stores):
    def fail():
        with stores.database.write() as connection:
            change = Change(stores, connection, "admin")
            change.version("write", Ref("table", "a"), lambda _: {}, ["file/x"])
            raise UsageError("CN-X-001", "the rest failed", "")

    waiting = stores.ledger.unsealed()
    with pytest.raises(UsageError):
        fail()
    assert stores.ledger.version(Ref("table", "a")) is None
    assert stores.ledger.made_from("file/x") == []
    assert stores.ledger.unsealed() == waiting


def test_lineage_is_followed_forwards(stores, append):
    first = append("table/a@1", made_from=["file/x", "file/y", "file/x"])
    second = append("table/b@1", made_from=["table/a@1", "file/x"])
    assert stores.ledger.made_from("file/x") == [first, second]
    assert stores.ledger.made_from("file/y") == [first]
    assert stores.ledger.made_from("table/a@1") == [second]
    assert first.made_from == ("file/x", "file/y", "file/x")


def test_entries_are_selected_newest_first(stores, append, monkeypatch):
    moments = iter([100.0, 200.0, 300.0])
    stamps = []
    for verb in ("start", "finish", "start"):
        moment = next(moments)
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        stamps.append(append("run/r", verb).at)
    found = stores.ledger.select(kind="run")
    assert [entry.at for entry in found] == stamps[::-1]
    assert [entry.at for entry in stores.ledger.select(kind="run", verb="start")] == [
        stamps[2],
        stamps[0],
    ]
    assert [entry.at for entry in stores.ledger.select(kind="run", before=stamps[1])] == [
        stamps[1],
        stamps[0],
    ]
    assert [entry.at for entry in stores.ledger.select(kind="run", limit=1)] == [stamps[2]]


def test_a_subject_without_a_version_is_found_with_all_its_versions(stores, append):
    wanted = {append(subject).id for subject in ("table/a", "table/a@1", "table/a@12")}
    for other in ("table/ab@1", "table/aA", "table/b@1", "model/a@1", "table/a.b@1"):
        append(other)
    assert {entry.id for entry in stores.ledger.select(subject="table/a")} == wanted
    assert [entry.subject for entry in stores.ledger.select(subject="table/a@1")] == ["table/a@1"]


def test_the_chain_is_streamed_in_order_over_its_batches(stores, append, monkeypatch):
    monkeypatch.setattr("colonnade.store.ledger.BATCH", 3)
    for _ in range(7):
        append()
    stores.sealer.seal()
    append()
    sealed = [entry.seq for entry in stores.ledger.stream()]
    assert sealed == list(range(1, len(sealed) + 1))
    assert stores.ledger.unsealed() == 1
