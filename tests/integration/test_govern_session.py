from __future__ import annotations

import contextlib
import io
import sqlite3
import typing

import polars as pl
import pytest
import sqlalchemy as sa

from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.govern import access
from colonnade.govern.session import Session
from colonnade.project import Project
from colonnade.records.actor import ROLES, Action, Actor, Role
from colonnade.records.job import Job
from colonnade.records.online import Fact, Published
from colonnade.records.ref import Ref
from colonnade.records.source import Sql
from colonnade.records.table import TableVersion
from colonnade.store import process
from colonnade.store.schema import entries

RUN = Ref("run", "r")
TABLE = Ref("table", "t")


def _write(session):
    with session.writer("t") as held:
        held.write(pl.DataFrame({"id": [1]}), TableVersion(mode="append", step="s"), ())


def _give_back(session):
    jobs = session._stores.jobs
    with session._stores.database.write() as connection:
        wanted_by = connection.execute(sa.select(entries.c.id).limit(1)).scalar()
        jobs.enqueue(connection, Job(key="j", kind="retrain", body={}, wanted_by=wanted_by))
    session.give_back(jobs.claim(process.me(), ["retrain"]))


def _note(action):
    return lambda session: session.record(action, "note", RUN, {})


def _remove(session):
    with session.writer("t") as held:
        session.remove(held, "t", (), full=False)


def _publish(session):
    about = Published(version=1, columns=("id",))
    session.publish(Ref("table", "t", 1), about, [([1], [Fact(0, (1,))])])


def _ask(session):
    shop = session.folder / "shop.db"
    with contextlib.closing(sqlite3.connect(shop)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER)")
    (session.folder / "url").write_text(f"sqlite:///{shop}")
    origin = Sql(f"file:{session.folder / 'url'}", "orders")
    with session.ask(Project("p").source("orders", origin), None):
        pass


def _sheet(session):
    with session.landing_sheet("orders", "1") as sheet:
        sheet.add(pl.DataFrame({"id": [1]}))


def _keep(session):
    path = session.folder / "kept.parquet"
    pl.DataFrame({"id": [1]}).write_parquet(path)
    session.keep_landing("orders", path, {})


VERBS = {  # every verb of a session that asks for a permission, and the permission
    "newest": ("read", lambda session: session.newest("table", "t")),
    "version": ("read", lambda session: session.version(TABLE)),
    "entry": ("read", lambda session: session.entry("0")),
    "entries": ("read", lambda session: session.entries(kind="table")),
    "made_from": ("read", lambda session: session.made_from("file/x")),
    "names": ("read", lambda session: session.names("table")),
    "scan": ("read", lambda session: session.scan(TABLE).collect()),
    "changed": ("read", lambda session: session.changed(TABLE, TABLE)),
    "files": ("read", lambda session: session.files(TABLE)),
    "versions": ("read", lambda session: session.versions("t")),
    "removed": ("read", lambda session: session.removed("t")),
    "find": ("read", lambda session: session.find("table", "t")),
    "then": ("read", lambda session: session.then(TABLE, "9999")),
    "remove": ("write", _remove),
    "writer": ("write", _write),
    "flushed": ("read", lambda session: session.flushed("s")),
    "segments_of": ("read", lambda session: session.segments_of("a")),
    "landing": ("read", lambda session: session.landing(session.folder, "*.csv")),
    "digest_of": ("read", lambda session: session.digest_of(session.folder / "a.csv")),
    "open_file": ("read", lambda session: session.open_file(session.folder / "a.csv", ())),
    "open_lines": ("read", lambda session: session.open_lines(session.folder / "a.csv", (), {})),
    "is_ragged": ("read", lambda session: session.is_ragged(session.folder / "a.csv", 1, 1)),
    "who_may": ("read", lambda session: session.who_may("promote")),
    "ask": ("write", _ask),
    "landing_sheet": ("write", _sheet),
    "keep_landing": ("write", _keep),
    "kept_landing": ("read", lambda session: session.kept_landing("orders", "1")),
    "clear_landing": ("write", lambda session: session.clear_landing("orders")),
    "publish": ("write", _publish),
    "published": ("read", lambda session: session.published("t")),
    "look_up": ("read", lambda session: session.look_up("t", [1])),
    "put_blob": ("write", lambda session: session.put_blob(b"x")),
    "blob": ("read", lambda session: session.blob(session.digest)),
    "frame_of": ("read", lambda session: session.frame_of(session.frame)),
    "sign": ("register", lambda session: session.sign(b"x")),
    "spool_keys": ("predict", lambda session: session.spool_keys()),
    "access_snapshot": ("predict", lambda session: session.access_snapshot()),
    "log_metrics": ("train", lambda session: session.log_metrics("r", [("auc", 0, 0.7)])),
    "log_params": ("train", lambda session: session.log_params("r", {"a": "b"})),
    "run_rows": ("read", lambda session: session.run_rows("r")),
    "claim_job": ("train", lambda session: session.claim_job(["retrain"])),
    "give_back": ("train", _give_back),
    "open_jobs": ("read", lambda session: session.open_jobs()),
} | {f"record {action}": (action, _note(action)) for action in typing.get_args(Action)}
FREE = {  # by argument, or none
    "require", "change", "record", "alone", "new_file", "seal", "trusted_keys", "holding",
    "inbox",
}  # fmt: skip


@pytest.fixture
def somebody(stores, session, tmp_path):
    """Opens a session of somebody with these roles, on a project that has what they ask for."""
    _write(session)
    (tmp_path / "a.csv").write_text("n\n1\n")
    digest = session.put_blob(b"there")
    frame = io.BytesIO()
    pl.DataFrame({"id": [1]}).write_parquet(frame)
    stored = session.put_blob(frame.getvalue())

    class Visitor(Session):
        folder = tmp_path

    def enter(*roles):
        visitor = Visitor(stores, Actor("somebody", frozenset(roles)), "test")
        visitor.digest = digest
        visitor.frame = stored
        return visitor

    return enter


def test_every_verb_of_a_session_is_in_the_table():
    public = {name for name in vars(Session) if not name.startswith("_")}
    assert public - FREE == {name for name in VERBS if not name.startswith("record ")}


@pytest.mark.parametrize("role", [*typing.get_args(Role), None])
def test_a_role_may_do_what_it_may_and_nothing_else(stores, somebody, role):
    visitor = somebody(*([role] if role else []))
    allowed = ROLES[role] if role else frozenset()
    refused = []
    for name, (action, verb) in VERBS.items():
        if action in allowed:
            verb(visitor)
            continue
        with pytest.raises(RefusedError, match="CN-ACCESS-001.* may not " + action) as error:
            verb(visitor)
        assert error.value.exit_code == 3, name
        refused.append(action)
    recorded = stores.ledger.select(verb="refuse")
    assert [entry.body["action"] for entry in recorded[::-1]] == refused
    assert all(entry.actor == "somebody" for entry in recorded)
    assert all(entry.body["purpose"] == "test" for entry in recorded)


def test_a_refusal_leaves_nothing_but_itself(stores, somebody):
    visitor = somebody("viewer")
    before = stores.ledger.version(TABLE)
    for verb in ("writer", "put_blob", "log_metrics", "record write"):
        with pytest.raises(RefusedError):
            VERBS[verb][1](visitor)
    assert stores.ledger.version(TABLE) == before
    assert stores.ledger.select(kind="run", verb="note") == []
    assert stores.runs.points("r") == []


def test_a_read_is_recorded_once_for_a_version_and_a_set_of_columns(session, stores):
    frame = pl.DataFrame({"id": [1], "late": [True]})
    version = TableVersion(mode="append", step="s")
    for _ in range(2):
        with session.writer("t") as held:
            held.write(frame, version, ())
    for columns in (["id"], ["id", "late"], ["late", "id"], None, ["id"]):
        session.scan(Ref("table", "t", 1), columns)
    session.scan(TABLE, ["id"])
    session.scan(Ref("table", "t", 2), ["id"])
    reads = [(read.subject, read.body["columns"]) for read in session.entries(verb="read")[::-1]]
    assert reads == [
        ("table/t@1", ["id"]), ("table/t@1", ["id", "late"]), ("table/t@2", ["id"]),
    ]  # fmt: skip
    assert session.entries(verb="read")[0].body["purpose"] == "test"
    Session(stores, access.ADMIN, "another purpose").scan(TABLE, ["id"])
    assert len(session.entries(verb="read")) == 4


def test_a_scan_gives_the_columns_that_were_asked_for_in_their_order(session):
    with session.writer("t") as held:
        held.write(
            pl.DataFrame({"a": [1], "b": [2], "c": [3]}), TableVersion(mode="append", step="s"), ()
        )
    assert session.scan(TABLE, ["c", "a"]).collect().columns == ["c", "a"]
    assert session.scan(TABLE).collect().columns == ["a", "b", "c"]


def test_what_does_not_exist_gets_a_hint(session):
    _write(session)
    with pytest.raises(NotFoundError, match="CN-REF-002") as missing:
        session.scan(Ref("table", "tt"))
    assert "'t'" in missing.value.fix
    with pytest.raises(NotFoundError, match="there is no table t@9"):
        session.version(Ref("table", "t", 9))


def test_a_record_and_its_job_appear_together_or_not_at_all(session, stores):
    def decide(fail):
        with session.change("report", Ref("action", "a")) as change:
            entry = change.append("decide", Ref("action", "a"), {})
            change.enqueue("retrain", "k", {"n": 1}, entry)
            if fail:
                raise KeyError

    with pytest.raises(KeyError):
        decide(fail=True)
    assert session.open_jobs() == []
    assert session.entries(kind="action") == []
    decide(fail=False)
    job = session.claim_job(["retrain"])
    assert (job.key, job.wanted_by) == ("k", session.entries(kind="action")[0].id)
    with session.change("report", Ref("action", "a")) as change:
        change.finish(job, "action/a")
    assert stores.jobs.get("k").state == "done"
    assert session.claim_job(["retrain"]) is None


def test_what_a_session_signs_is_verified_with_the_trusted_keys(session, stores):
    key_id, signature = session.sign(b"manifest")
    assert key_id in session.trusted_keys()
    assert stores.keys.sign(b"manifest") == signature


def test_params_and_metrics_come_back_with_their_digest(session, stores):
    session.log_params("r", {"depth": "3"})
    session.log_metrics("r", [("auc", 0, 0.7)])
    assert session.run_rows("r") == (
        {"depth": "3"}, [("auc", 0, 0.7)], stores.runs.digest("r"),
    )  # fmt: skip


def test_a_job_that_is_worked_on_is_kept_alive(session, stores, monkeypatch):
    monkeypatch.setattr("colonnade.govern.session.BEAT_S", 0.001)
    with session.change("report", Ref("action", "a")) as change:
        entry = change.append("decide", Ref("action", "a"), {})
        change.enqueue("retrain", "k", {}, entry)
    job = session.claim_job(["retrain"])
    with session.holding(job):
        while stores.jobs.get("k").lease_until == job.lease_until:
            pass
    assert stores.jobs.get("k").fence == job.fence
