"""Old versions: what is needed stays readable whatever is compacted, removed or killed."""

from __future__ import annotations

import random

import duckdb
import polars as pl
import pytest

from colonnade.base.errors import NotFoundError, UsageError
from colonnade.lifecycle import upkeep
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import answered, carry_out, colonnade, fitted, land, rows


def write(session, *ids, mode="append", table="t", **fields):
    with session.writer(table) as held:
        frame = pl.DataFrame({"id": list(ids)}, schema={"id": pl.Int64})
        return held.write(frame, TableVersion(mode=mode, step="s", **fields), ())


def ids(session, ref="t"):
    name, _, version = ref.partition("@")
    found = session.scan(Ref("table", name, int(version) if version else None)).collect()
    return sorted(found["id"])


def kept_files(stores, name="t"):
    return {path.name for path in stores.tables.everything(name)}


def test_versions_that_nothing_needs_go_with_their_files(session, stores):
    for number in (1, 2, 3):
        write(session, number, mode="replace")
    done = upkeep.vacuum(session, "t", 0)
    assert (done.removed, done.files, done.kept) == ((1, 2), 2, ())
    assert ids(session, "t@3") == [3]
    assert len(kept_files(stores)) == 1
    with pytest.raises(NotFoundError, match=r"CN-REF-003: .* t@1 .* removed"):
        session.scan(Ref("table", "t", 1))
    assert session.removed("t") == {1, 2}
    assert upkeep.vacuum(session, "t", 0).removed == ()
    assert [entry.verb for entry in session.entries(subject="table/t")][:2] == ["read", "sweep"]


def test_files_that_a_newer_version_still_has_stay(session, stores):
    write(session, 1)
    write(session, 2)
    done = upkeep.vacuum(session, "t", 0)
    assert (done.removed, done.files) == ((1,), 0)
    assert ids(session) == [1, 2]


def test_what_was_the_newest_within_the_retention_stays(session):
    for number in (1, 2):
        write(session, number, mode="replace")
    assert upkeep.vacuum(session, "t", 1).removed == ()
    assert ids(session, "t@1") == [1]


def test_a_plan_removes_nothing(session):
    for number in (1, 2):
        write(session, number, mode="replace")
    assert upkeep.vacuum(session, "t", 0, plan=True).removed == (1,)
    assert ids(session, "t@1") == [1]


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf")])
def test_a_retention_that_is_none_is_refused(session, days):
    write(session, 1)
    with pytest.raises(UsageError, match="CN-TABLE-013"):
        upkeep.vacuum(session, "t", days)


def test_what_another_table_was_made_from_and_what_is_held_stays(session):
    for number in (1, 2, 3, 4):
        write(session, number, mode="replace")
    with session.writer("u") as held:
        held.write(pl.DataFrame({"id": [1]}), TableVersion(mode="replace", step="s"), ["table/t@1"])
    session.record("write", "hold", Ref("table", "t", 2), {"reason": "an audit"})
    done = upkeep.vacuum(session, "t", 0)
    assert done.removed == (3,)
    assert [(kept.version, kept.why) for kept in done.kept] == [
        ("t@1", "u@1 was made from it"), ("t@2", "held: an audit"),
    ]  # fmt: skip
    session.record("write", "lift", Ref("table", "t", 2), {})
    assert upkeep.vacuum(session, "t", 0).removed == (2,)


def test_a_compaction_lets_the_small_files_go(session, stores):
    for number in range(6):
        write(session, number)
    assert upkeep.compact(session, "t") is not None
    write(session, 6)
    done = upkeep.vacuum(session, "t", 0)
    assert done.files == 6
    assert len(kept_files(stores)) == 2
    assert ids(session) == list(range(7))
    assert write(session, 7).ref.version == 8


def test_what_a_kill_left_behind_goes_with_a_full_sweep_only(session, stores):
    write(session, 1)
    orphan = stores.tables.everything("t")[0].parent / "part-of-a-dead-writer.parquet#1"
    orphan.write_bytes(b"x")
    assert upkeep.vacuum(session, "t", 0).files == 0
    assert upkeep.vacuum(session, "t", 0, full=True).files == 1
    assert not orphan.exists()
    assert ids(session) == [1]


def test_a_commit_whose_files_were_swept_is_undone(session, stores):
    """A stopped writer that wakes after a full sweep commits files that are gone."""
    write(session, 1)
    draft = stores.tables.unnamed("t", -1)[0].draft.replace('"parent":-1', '"parent":0')
    before = kept_files(stores)
    stores.tables.write("t", pl.DataFrame({"id": [2]}), "append", draft)
    for path in stores.tables.everything("t"):
        if path.name not in before:
            path.unlink()
    write(session, 3)
    assert ids(session) == [1, 3]


def test_the_training_table_of_a_live_model_and_what_it_came_from_stay(tmp_path):
    fitted(tmp_path)
    land(tmp_path, "rows2.csv", rows(2000, 50))
    carry_out(tmp_path, "examples")
    land(tmp_path, "rows3.csv", rows(2050, 50))
    carry_out(tmp_path, "examples")
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        done = upkeep.vacuum(session, "examples", 0)
        assert done.removed == (2,)
        assert [kept.version for kept in done.kept] == ["examples@1"]
        assert "risk@1" in done.kept[0].why
        assert session.scan(Ref("table", "examples", 1)).collect().height == 2000
        assert upkeep.vacuum(session, "rows", 0).removed == (2,)
        assert session.scan(Ref("table", "rows", 1)).collect().height == 2000


def test_what_was_answered_is_traced_after_every_vacuum(tmp_path, capsys):
    fitted(tmp_path)
    traced = []
    for first in (3000, 3100):
        asked = rows(first, 20).with_columns(high=pl.col("x") > 0.5).drop("y")
        asked.write_csv(tmp_path / "in.csv")
        out = tmp_path / f"out{first}.csv"
        words = ["--in", str(tmp_path / "in.csv"), "--out", str(out)]
        assert colonnade(tmp_path, "predict", "risk", *words) == 0
        traced.append(pl.read_csv(out)["prediction_id"][0])
    assert colonnade(tmp_path, "data", "vacuum", "--retention", "0", "--full") == 0
    for prediction in traced:
        capsys.readouterr()
        assert colonnade(tmp_path, "trace", prediction) == 0
        assert "rows verified" in capsys.readouterr().out


def test_the_commands_say_what_became_of_a_table(tmp_path, capsys):
    fitted(tmp_path)
    land(tmp_path, "rows2.csv", rows(2000, 50))
    carry_out(tmp_path, "examples")
    land(tmp_path, "rows3.csv", rows(2050, 50))
    carry_out(tmp_path, "examples")
    capsys.readouterr()
    assert colonnade(tmp_path, "data", "vacuum", "examples", "--retention", "0") == 0
    said = capsys.readouterr().out
    assert said.startswith("examples: 1 versions removed, 1 files, ")
    assert colonnade(tmp_path, "data", "versions", "examples", "--json") == 0
    states = [row["state"] for row in answered(capsys.readouterr().out)]
    assert states == ["there", "removed", "there"]
    assert colonnade(tmp_path, "data", "show", "examples@2") == 2
    assert "CN-REF-003" in capsys.readouterr().err
    assert colonnade(tmp_path, "data", "compact") == 0
    assert colonnade(tmp_path, "data", "hold", "examples@1", "--why", "audit") == 0
    assert colonnade(tmp_path, "data", "lift", "examples@1") == 0


def test_a_day_names_what_was_the_newest_at_its_end(session):
    first, second = write(session, 1), write(session, 2)
    today = first.at[:10]
    assert session.find("table", f"t@{today}").subject == second.subject
    assert session.find("table", f"t@{first.at}").subject == first.subject
    with pytest.raises(NotFoundError, match=r"CN-REF-002: .*table t at 2013-05-01"):
        session.find("table", "t@2013-05-01")
    with pytest.raises(UsageError, match="CN-REF-001"):
        session.find("table", "t@2013-02-30")


UPKEEP = """
    from colonnade.govern import access
    from colonnade.govern.session import Session
    from colonnade.lifecycle import upkeep
    from colonnade.records.table import TableVersion
    import polars as pl
    session = Session(stores, access.ADMIN, "test")
    number = int(sys.argv[2])
    while True:
        number += 1
        with session.writer("t") as held:
            held.write(
                pl.DataFrame({"id": [number]}), TableVersion(mode="append", step="s"), ()
            )
            held.compact()
        upkeep.vacuum(session, "t", 0, full=number % 2 == 0)
"""


def test_killed_at_any_moment_every_version_that_stays_is_whole(
    session, start, opened, kill, stores
):
    chance = random.Random(7)
    write(session, 0)
    session.record("write", "hold", Ref("table", "t", 1), {"reason": "to look at"})
    for _ in range(6):
        newest = session.newest("table", "t").ref.version
        process = start(opened + UPKEEP, newest)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        while session.newest("table", "t").ref.version == newest:
            assert process.poll() is None, process.communicate()[1]
        pause(chance.uniform(0.05, 0.6))
        kill(process)
        gone = session.removed("t")
        for entry in session.versions("t"):
            if entry.ref.version not in gone:
                found = session.scan(entry.ref).collect()
                assert found.height == entry.read(TableVersion).rows
        write(session, 10_000 + newest)
        assert 1 not in gone
    upkeep.vacuum(session, "t", 0, full=True)
    assert len(ids(session)) == session.newest("table", "t").read(TableVersion).rows


def pause(seconds):
    """The moment of a kill is chance; no condition is waited for."""
    import time  # noqa: PLC0415

    time.sleep(seconds)


APPENDS = """
    from colonnade.govern import access
    from colonnade.govern.session import Session
    from colonnade.records.table import TableVersion
    import polars as pl
    session = Session(stores, access.ADMIN, "test")
    first = int(sys.argv[2])
    for number in range(first, first + 15):
        with session.writer("t") as held:
            held.write(
                pl.DataFrame({"id": [number] * 10}), TableVersion(mode="append", step="s"), ()
            )
"""


def test_duckdb_reads_versions_while_two_writers_write(session, start, opened, stores):
    write(session, *range(10))
    writers = [start(opened + APPENDS, first) for first in (100, 200)]
    for process in writers:
        assert process.stdout.readline() == "ready\n"
    for process in writers:
        process.stdin.write("\n")
        process.stdin.flush()
    seen = set()
    while any(process.poll() is None for process in writers):
        entry = session.newest("table", "t")
        files = [str(path) for path in session.files(entry.ref)]
        count, distinct = duckdb.execute(
            "SELECT count(*), count(DISTINCT id) FROM read_parquet($files)", {"files": files}
        ).fetchone()
        assert count == entry.read(TableVersion).rows
        assert distinct == 10 + (count - 10) // 10
        seen.add(entry.ref.version)
    for process in writers:
        assert process.returncode == 0, process.communicate()[1]
    assert len(seen) > 3
    assert session.newest("table", "t").read(TableVersion).rows == 310
