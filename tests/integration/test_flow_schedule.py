"""Cron lines: each due time once, made up once after a pause, tried again when it fails."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from colonnade.base import clock
from colonnade.lifecycle import schedule, service
from colonnade.lifecycle.schedule import Retries
from colonnade.lifecycle.status import status
from colonnade.lifecycle.timeline import timeline
from colonnade.records.ref import Ref
from colonnade.wiring import open_workspace
from tests.projects import PROJECT, carry_out, empty, land, rows, until

MORNING = PROJECT.replace('"landing/rows*.csv"', '"landing/rows*.csv", schedule="0 6 * * *"')
START = datetime(2030, 1, 1, 5, 59, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch):
    """Sets the wall clock of this process; every call of it is a microsecond later."""
    now = [START.timestamp()]

    def tick() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(clock, "now_s", tick)

    def set_to(day: int, hour: int, minute: int = 0) -> None:
        now[0] = datetime(2030, 1, day, hour, minute, tzinfo=UTC).timestamp()

    return set_to


def turn(folder, count=1, retries=service.RETRIES):
    """So many turns of a worker's loop; returns what it said."""
    said: list[str] = []
    left = iter([False] * count + [True] * 1000)
    with open_workspace(folder) as workspace:
        session = workspace.session("worker")
        service.work(
            session, workspace.project, workspace.folder, lambda: next(left), said.append, retries
        )
    return said


def entries(folder, verb, kind="source"):
    with open_workspace(folder) as workspace:
        return workspace.session("test").entries(kind=kind, verb=verb)


@pytest.fixture
def folder(tmp_path, at):
    """A project with a source that is due at six; a worker has taken its schedule up."""
    at(1, 5, 59)
    empty(tmp_path, MORNING)
    assert turn(tmp_path) == []
    return tmp_path


def test_a_due_time_is_carried_out_once_with_all_that_is_made_from_it(folder, at):
    land(folder, "rows1.csv", rows(0, 400))
    assert turn(folder) == []
    at(1, 6)
    assert [line.split(":")[0] for line in turn(folder)] == [
        "done source rows@1",
        "done table examples@1",
        "done model risk@1",
        "done endpoint risk@1",
    ]
    at(1, 7)
    assert turn(folder, 2) == []
    assert len(entries(folder, "due")) == len(entries(folder, "finish")) == 1


def test_what_was_missed_is_made_up_once(folder, at):
    land(folder, "rows1.csv", rows(0, 400))
    at(9, 12)
    assert turn(folder, 3)[0].startswith("done source rows@1")
    [due] = entries(folder, "due")
    assert due.body["due"] == "2030-01-09T06:00:00.000000Z"


def test_what_was_due_before_the_schedule_was_taken_up_is_not_made_up(tmp_path, at):
    at(1, 6, 30)
    empty(tmp_path, MORNING)
    land(tmp_path, "rows1.csv", rows(0, 400))
    assert turn(tmp_path, 2) == []
    assert entries(tmp_path, "due") == []


def test_another_line_counts_from_when_it_was_seen(folder, at):
    at(3, 12)
    (folder / "project.py").write_text(MORNING.replace("0 6 * * *", "0 11 * * *"))
    land(folder, "rows1.csv", rows(0, 400))
    assert turn(folder, 2) == []
    assert [entry.body["cron"] for entry in entries(folder, "schedule")] == [
        "0 11 * * *",
        "0 6 * * *",
    ]


def test_a_run_that_fails_is_tried_again_later_and_later_and_then_given_up(folder, at):
    retries = Retries(tries=3, wait_s=60)
    at(1, 6)
    said = turn(folder, 3, retries)
    assert said == [line for line in said if "CN-INGEST-001" in line][:1]
    at(1, 6, 0)
    assert len(entries(folder, "fail")) == 1
    at(1, 6, 2)
    turn(folder, 2, retries)
    assert len(entries(folder, "fail")) == 2
    at(1, 6, 3)
    turn(folder, 2, retries)
    assert len(entries(folder, "fail")) == 2  # the second wait is twice as long
    at(1, 6, 5)
    turn(folder, 2, retries)
    fails = [entry.body for entry in entries(folder, "fail")]
    assert [(body["try"], body["of"]) for body in fails] == [(3, 3), (2, 3), (1, 3)]
    assert fails[0]["again_at"] is None
    at(1, 8)
    turn(folder, 2, retries)
    assert len(entries(folder, "fail")) == 3
    with open_workspace(folder) as workspace:
        [job] = workspace.session("test").open_jobs()
    assert job.state == "failed"
    assert job.result.startswith("failed 3 times; the last: CN-INGEST-001")


def test_a_try_that_succeeds_ends_it(folder, at):
    at(1, 6)
    turn(folder)
    with open_workspace(folder) as workspace:
        found = status(workspace.session("test"), workspace.project, folder)
    [job] = found["jobs"]
    assert (job["state"], job["failures"]) == ("waiting", 1)
    assert job["again_at"].startswith("2030-01-01T06:01:00")
    assert found["sources"]["rows"]["due"] == "2030-01-02T06:00:00.000000Z"
    land(folder, "rows1.csv", rows(0, 400))
    at(1, 6, 2)
    assert turn(folder)[0].startswith("done source rows@1")
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        assert session.open_jobs() == []
        told = timeline(session, workspace.project, "rows", 10)
    assert [moment.what for moment in told] == ["finish", "write", "fail", "due", "schedule"]
    assert (told[1].rows, told[1].bad, told[1].made) == (400, 0, "rows@1")
    assert "try 1 of 5: CN-INGEST-001" in told[2].detail


def test_a_run_by_an_outside_scheduler_leaves_nothing_to_do(folder, at):
    land(folder, "rows1.csv", rows(0, 400))
    at(1, 6)
    carry_out(folder)
    turn(folder, 2)
    [finish] = entries(folder, "finish")
    assert finish.body["made"] == []


def test_a_table_and_a_model_have_times_of_their_own(tmp_path, at):
    at(1, 5, 59)
    both = PROJECT.replace('time="at")', 'time="at", schedule="0 7 * * *")').replace(
        '"auc > champion"])', '"auc > champion"], schedule="0 8 * * *")'
    )
    empty(tmp_path, both)
    land(tmp_path, "rows1.csv", rows(0, 400))
    turn(tmp_path)
    at(1, 7)
    said = [line.split(":")[0] for line in turn(tmp_path)]
    assert said == ["done source rows@1", "done table examples@1"]
    at(1, 8)
    said = [line.split(":")[0] for line in turn(tmp_path)]
    assert said[-2:] == ["done model risk@1", "done endpoint risk@1"]


def test_what_is_no_longer_declared_fails_and_says_so(folder, at):
    at(1, 6)
    with open_workspace(folder) as workspace:
        schedule.enqueue(workspace.session("test"), workspace.project)
    (folder / "project.py").write_text('import colonnade as co\nproject = co.Project("small")\n')
    [said] = turn(folder)
    assert "CN-RUN-001" in said
    assert entries(folder, "fail")[0].subject == str(Ref("source", "rows"))


WORKER = """
    import sys
    from pathlib import Path
    from colonnade.base import clock
    from colonnade.lifecycle import pipeline, service
    from colonnade.wiring import open_workspace
    folder = Path(sys.argv[2])
    with open_workspace(folder) as workspace:
        session, project = workspace.session("worker"), workspace.project
        real = clock.now_s
        clock.now_s = lambda: real() + float(sys.argv[3])
        print("ready", flush=True)
        sys.stdin.readline()
        if sys.argv[4] == "run":
            pipeline.run(session, project, folder)
        left = iter([False] * 3 + [True] * 1000)
        service.work(session, project, folder, lambda: next(left), print)
"""


@pytest.mark.timeout(150)
def test_two_workers_and_an_outside_scheduler_do_a_due_time_once(tmp_path, start, go):
    empty(tmp_path, MORNING[: MORNING.index("@project.model")])
    land(tmp_path, "rows1.csv", rows(0, 400))
    with open_workspace(tmp_path) as workspace:
        schedule.enqueue(workspace.session("test"), workspace.project)
    day_s = 86_400
    go(
        *(start(WORKER, tmp_path, day_s, "work") for _ in range(2)),
        start(WORKER, tmp_path, day_s, "run"),
    )
    assert len(entries(tmp_path, "due")) == len(entries(tmp_path, "finish")) == 1
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        assert session.version(Ref("table", "rows")).ref.version == 1
        assert session.open_jobs() == []


SLOW = """
import time
from pathlib import Path
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv", schedule="0 6 * * *")
HERE = Path(__file__).parent


@project.table(key="id")
def examples(rows: pl.LazyFrame) -> pl.LazyFrame:
    (HERE / "begun").touch()
    while not (HERE / "go").exists():
        time.sleep(0.01)
    return rows
"""


@pytest.mark.timeout(150)
def test_a_worker_that_is_killed_at_work_leaves_the_run_to_the_next_one(tmp_path, start, kill):
    empty(tmp_path, SLOW)
    land(tmp_path, "rows1.csv", rows(0, 400))
    with open_workspace(tmp_path) as workspace:
        schedule.enqueue(workspace.session("test"), workspace.project)
    killed = start(WORKER, tmp_path, 86_400, "work")
    assert killed.stdout.readline() == "ready\n"
    killed.stdin.write("\n")
    killed.stdin.flush()
    until((tmp_path / "begun").exists)
    kill(killed)
    (tmp_path / "go").touch()
    again = start(WORKER, tmp_path, 86_400, "work")
    again.communicate("\n", timeout=100)
    assert len(entries(tmp_path, "due")) == len(entries(tmp_path, "finish")) == 1
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        assert session.version(Ref("table", "rows")).ref.version == 1
        assert session.open_jobs() == []
