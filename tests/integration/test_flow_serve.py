"""Acknowledged predictions into their table, each once; decided deployments into live workers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import polars as pl
import pytest
from sqlalchemy.exc import DatabaseError

from colonnade.base import clock, ids
from colonnade.base.errors import VerdictError
from colonnade.govern import access
from colonnade.lifecycle import promote
from colonnade.records.entry import Entry
from colonnade.records.model import ModelVersion
from colonnade.records.ref import Ref, parse
from colonnade.records.table import TableVersion
from colonnade.serve import log, rollout
from colonnade.serve.flush import flush, rows_digest
from colonnade.serve.rollout import Rollout
from colonnade.serve.segment import SpoolKey, read_head
from colonnade.serve.spool import Spool
from colonnade.serve.supervisor import Options, Supervisor
from colonnade.wiring import Workspace, open_workspace
from tests import databases
from tests.projects import PROJECT, carry_out, fitted, land, rows, until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fitted(tmp_path)


@pytest.fixture
def workspace(folder: Path) -> Iterator[Workspace]:
    with open_workspace(folder) as opened:
        yield opened


def spool_key(workspace: Workspace) -> SpoolKey:
    key, secret = list(workspace.session("test", "endpoint").spool_keys().items())[-1]
    return SpoolKey(id=key, secret=secret)


def answer(workspace: Workspace, *sizes: int, **changes) -> list[str]:
    """What a worker would have logged: one closed segment of so many rows each."""
    spool = Spool(workspace.spool, "risk", spool_key(workspace), durable=False)
    made = []
    for size in sizes:
        source = log.Source("risk@1", "risk", 1, ("x", "w", "high"))
        entry = log.Entry(
            **{
                "revision": "risk@1",
                "at_us": int(clock.now_s() * 1e6),
                "caller": "admin",
                "route": "predict",
                "latency_us": 80,
                "ids": [ids.uuid7() for _ in range(size)],
                "scores": [0.25] * size,
                "rows": [(0.5, "a", None)] * size,
                "keys": ["7"] * size,
                "times": [datetime(2013, 1, 1, tzinfo=UTC)] * size,
            }
            | changes
        )
        made += entry.ids
        raw = msgspec.Raw(msgspec.msgpack.encode(entry))
        spool.write(msgspec.msgpack.encode(log.Group([source], [raw])))
        spool.rotate()
    spool.close()
    return made


def flushed(workspace: Workspace) -> int:
    return flush(workspace.session("test", "endpoint"), "risk", workspace.spool)


def table(workspace: Workspace) -> pl.DataFrame:
    return workspace.session("test").scan(Ref("table", "predictions.risk")).collect()


def segments(workspace: Workspace) -> list[Path]:
    return sorted(workspace.spool.rglob("*.seg"))


def test_every_closed_segment_is_committed_and_then_deleted(workspace):
    made = answer(workspace, 3, 2)
    assert flushed(workspace) == 5
    found = table(workspace)
    assert sorted(found["prediction_id"].to_list()) == sorted(made)
    row = found.row(0, named=True)
    assert (row["feature_x"], row["feature_w"]) == (0.5, "a")
    assert "feature_high" not in found.columns
    assert (row["score"], row["key"], row["model"], row["version"]) == (0.25, "7", "risk", 1)
    assert segments(workspace) == []
    assert flushed(workspace) == 0


def test_a_segment_is_known_by_its_digest_and_its_ids(workspace):
    made = answer(workspace, 3)
    flushed(workspace)
    entry = workspace.session("test").version(Ref("table", "predictions.risk"))
    (segment,) = entry.read(TableVersion).segments
    assert (segment.rows, segment.first_id, segment.last_id) == (3, min(made), max(made))
    assert segment.digest == rows_digest(table(workspace))
    assert workspace.session("test").segments_of(made[1]) == [("risk", 1)]
    assert entry.made_from == ("model/risk@1",)


def test_the_digest_of_rows_knows_neither_their_order_nor_columns_of_others(workspace):
    answer(workspace, 3)
    flushed(workspace)
    found = table(workspace)
    shuffled = found.reverse().with_columns(feature_other=pl.lit(None, dtype=pl.Float64))
    assert rows_digest(shuffled) == rows_digest(found)
    assert rows_digest(found.with_columns(score=pl.lit(0.26))) != rows_digest(found)


def test_columns_of_another_model_version_join_the_table(workspace):
    answer(workspace, 1)
    flushed(workspace)
    answer(workspace, 1, rows=[(0.5, None, True)])
    answer(workspace, 1, rows=[(None, None, None)])
    assert flushed(workspace) == 2
    assert table(workspace)["feature_high"].to_list().count(True) == 1


# Dies when the rows are committed and named, and the segments' files are still there.
KILL = """
    import os, signal, sys
    from pathlib import Path
    from colonnade.serve import collect, flush
    from colonnade.wiring import open_workspace

    def dies(_):
        os.kill(os.getpid(), signal.SIGKILL)

    collect.discard = dies
    with open_workspace(Path(sys.argv[1])) as workspace:
        flush.flush(workspace.session("test", "endpoint"), "risk", workspace.spool)
"""


def test_a_flusher_killed_behind_its_commit_doubles_nothing(workspace, folder):
    answer(workspace, 3, 2)
    words = [sys.executable, "-c", textwrap.dedent(KILL), str(folder)]
    assert subprocess.run(words, check=False).returncode == -9
    assert len(segments(workspace)) == 2
    assert table(workspace).height == 5
    assert flushed(workspace) == 0
    assert segments(workspace) == []
    assert table(workspace).height == 5


def alter(path: Path) -> None:
    """Change a byte inside of the first frame and make its checksum fit."""
    data = bytearray(path.read_bytes())
    _, start = read_head(bytes(data))
    length = int.from_bytes(data[start + 4 : start + 8], "big")
    data[start + 12] ^= 1
    checksum = zlib.crc32(data[start + 12 : start + 12 + length])
    data[start + 8 : start + 12] = checksum.to_bytes(4, "big")
    path.write_bytes(data)


def test_a_damaged_segment_stays_and_holds_no_other_back(workspace):
    answer(workspace, 3, 2, 1)
    broken = segments(workspace)[1]
    alter(broken)
    for _ in range(2):
        with pytest.raises(VerdictError) as caught:
            flushed(workspace)
        assert caught.value.code == "CN-SPOOL-003"
        assert str(broken) in caught.value.message
        assert table(workspace).height == 4
        assert segments(workspace) == [broken]
    command = caught.value.fix.partition("set it aside: ")[2]
    assert command.startswith("mv ")
    subprocess.run(command.split(), check=True)
    assert flushed(workspace) == 0


def test_a_segment_of_before_a_rotation_of_the_keys_is_read(workspace):
    answer(workspace, 2)
    access.rotate_root(workspace.session("test"), workspace.stores)
    answer(workspace, 1)
    assert flushed(workspace) == 3


class Live:
    """A supervisor with one worker, kept on the newest deployments by a rollout."""

    def __init__(self, workspace: Workspace) -> None:
        self.session = workspace.session("serve", "endpoint")
        options = Options(spool=workspace.spool, key=spool_key(workspace), port=0)
        self.supervisor = Supervisor(options)
        self.rollout = Rollout(self.session, self.supervisor)
        self.key = (workspace.folder / "api.key").read_text()

    def ask(self, key: str | None = None) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.supervisor.port, timeout=30)
        body = json.dumps({"rows": [{"x": 0.9, "w": "a", "high": True, "id": 7}]})
        headers = {"authorization": f"Bearer {key or self.key}"}
        connection.request("POST", "/v1/endpoints/risk/predict", body, headers)
        response = connection.getresponse()
        found = json.loads(response.read())
        connection.close()
        return response.status, found

    def version(self) -> str:
        status, found = self.ask()
        assert status == 200
        return found["model_version"]


@pytest.fixture
def live(workspace: Workspace) -> Iterator[Live]:
    live = Live(workspace)
    try:
        live.supervisor.start()
        yield live
    finally:
        live.supervisor.drain()


def entries(workspace: Workspace, verb: str) -> list[Entry]:
    return workspace.session("test").entries(kind="deployment", verb=verb)


def second_version(folder: Path) -> None:
    text = PROJECT.replace('"auc > champion"', '"auc >= 0.50"')
    (folder / "project.py").write_text(text)
    land(folder, "rows2.csv", rows(2000, 500))
    assert carry_out(folder, "risk")[-1].made == "risk@2"


def test_a_deployment_becomes_live_and_its_load_is_recorded(workspace, folder, live):
    assert live.rollout.reconcile() == ["risk: answers with risk@1 (risk@1)"]
    assert live.rollout.reconcile() == []
    assert live.version() == "risk@1"
    (load,) = entries(workspace, "load")
    version = workspace.session("test").version(parse("model/risk@1")).read(ModelVersion)
    assert (load.subject, load.made_from) == ("deployment/risk@1", ("model/risk@1",))
    assert (load.body["digest"], load.body["key_id"]) == (version.digest, version.key_id)
    assert (load.actor, load.body["workers"]) == ("endpoint", 1)
    second_version(folder)
    assert live.rollout.reconcile() == ["risk: answers with risk@2 (risk@2)"]
    assert live.version() == "risk@2"
    promote.rollback(workspace.session("test"), "risk", "test")
    assert live.rollout.reconcile() == ["risk: answers with risk@1 (risk@3)"]
    assert live.version() == "risk@1"


def test_a_changed_model_is_refused_once_and_the_old_one_stays_live(workspace, folder, live):
    live.rollout.reconcile()
    second_version(folder)
    digest = entries(workspace, "promote")[0].read(promote.Deployment).digest
    version = workspace.session("test").version(parse("model/risk@2")).read(ModelVersion)
    path = workspace.stores.blobs.path(version.files["model.onnx"])
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    (said,) = live.rollout.reconcile()
    assert said.startswith("risk: risk@2 was refused, the old version stays: CN-BLOB-002")
    assert live.rollout.reconcile() == []
    assert live.version() == "risk@1"
    (refusal,) = entries(workspace, "refuse")
    assert refusal.subject == "deployment/risk@2"
    assert (refusal.body["code"], refusal.body["model"]) == ("CN-BLOB-002", "risk@2")
    assert version.digest == digest
    path.write_bytes(good)
    entry = workspace.session("test").version(parse("model/risk@2"))
    promote.promote(workspace.session("test"), "risk", entry, "restored")
    assert live.rollout.reconcile() == ["risk: answers with risk@2 (risk@3)"]


def test_a_deployment_waits_for_a_worker_and_is_not_recorded_as_refused(workspace, live):
    live.supervisor._places[0].deaths = 1  # the second in a row: its place is filled later
    subprocess.run(["kill", "-9", str(live.supervisor.pids[0])], check=True)
    until(lambda: not live.supervisor.pids)
    assert live.rollout.reconcile() == ["risk: risk@1 waits for a worker"]
    until(lambda: live.rollout.reconcile() == ["risk: answers with risk@1 (risk@1)"])
    assert live.version() == "risk@1"
    assert entries(workspace, "refuse") == []


def test_a_worker_that_dies_while_it_loads_is_no_verdict_on_the_model(workspace, live):
    (pid,) = live.supervisor.pids
    os.kill(pid, signal.SIGSTOP)  # it hears the order, and dies before it answers
    killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
    killer.start()
    assert live.rollout.reconcile() == ["risk: risk@1 waits for a worker"]
    killer.join()
    until(lambda: live.rollout.reconcile() == ["risk: answers with risk@1 (risk@1)"])
    assert live.version() == "risk@1"
    assert entries(workspace, "refuse") == []


NO_LOADS = {  # how a database is told to take no entry of a load, and to take them again
    "sqlite": (
        """CREATE TRIGGER no_loads BEFORE INSERT ON entries WHEN NEW.verb = 'load'
        BEGIN SELECT RAISE(ABORT, 'full'); END""",
        "DROP TRIGGER no_loads",
    ),
    "postgresql": (
        "ALTER TABLE entries ADD CONSTRAINT no_loads CHECK (verb <> 'load')",
        "ALTER TABLE entries DROP CONSTRAINT no_loads",
    ),
}


def test_a_load_that_could_not_be_recorded_is_recorded_later_and_not_loaded_again(workspace, live):
    refuse, take = NO_LOADS[databases.KIND]
    with workspace.stores.database.write() as connection:
        connection.exec_driver_sql(refuse)
    with pytest.raises(DatabaseError):
        live.rollout.reconcile()
    assert live.version() == "risk@1"
    with workspace.stores.database.write() as connection:
        connection.exec_driver_sql(take)
    assert live.rollout.reconcile() == []
    assert [entry.subject for entry in entries(workspace, "load")] == ["deployment/risk@1"]


def test_a_revoked_key_is_shut_out(workspace, live, monkeypatch):
    monkeypatch.setattr(rollout, "ACCESS_EVERY_S", 0.0)
    live.rollout.reconcile()
    identifier, text = access.add_key(workspace.session("test"), workspace.stores, "admin")
    live.rollout.reconcile()
    until(lambda: live.ask(text)[0] == 200)
    access.revoke_key(workspace.session("test"), workspace.stores, identifier)
    live.rollout.reconcile()
    until(lambda: live.ask(text)[0] == 401)
    assert live.ask()[0] == 200
