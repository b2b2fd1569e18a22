"""Two of everything at once, and holders that stop and come back: done once, late writes refused.

A command is stopped at a chosen write (`tests/faulty.c`), its leases run out, another one does the
work, and it goes on.
"""

from __future__ import annotations

import json
import os
import signal

import polars as pl
import psutil
import pytest
import sqlalchemy as sa

from colonnade.records.ref import Ref
from colonnade.store.keys import Keys
from colonnade.store.schema import jobs, leases
from colonnade.wiring import open_workspace
from tests.disks import Command, Fault, Forks
from tests.projects import PROJECT, contents, empty, fitted, land, predictions, rows, until
from tests.served import Served, assert_kept, load, more

pytestmark = pytest.mark.timeout(240)
WITHOUT_CHAMPION = PROJECT.replace(', "auc > champion"', "")
STOPPING = WITHOUT_CHAMPION.replace(
    "    return LGBM",
    """    if os.environ.pop("STOP_IN_FIT", ""):
        os.kill(os.getpid(), signal.SIGSTOP)
    return LGBM""",
).replace("import polars", "import os\nimport signal\n\nimport polars", 1)
SENSITIVE = STOPPING.replace("auc < 0.65 or drift", "auc < 0.999")


def both(forks: Forks, folder, *words: str):
    """The same command twice at once."""
    started = [forks.start(folder, *words) for _ in range(2)]
    ended = [command.wait() for command in started]
    assert [one.code for one in ended] == [0, 0], [one.said for one in ended]
    return ended


def entries(folder, **wanted: str):
    with open_workspace(folder) as workspace:
        return workspace.session("test").entries(**wanted)


def reportable(folder):
    """A project with newer rows, predicted and labelled, and a trigger that will hold."""
    fitted(folder, SENSITIVE)
    land(folder, "rows2.csv", rows(2000, 300))
    frame = rows(2000, 300)
    frame.with_columns(high=pl.col("x") > 0.5).drop("y").write_csv(folder / "asked.csv")
    frame.select("id", "at", "y").write_csv(folder / "outcomes.csv")
    return folder


REPORT = ("report", "risk", "--window", "2013-02-01..2013-03-01")


def before_report(forks: Forks, folder) -> None:
    for words in (
        ("run",),
        ("predict", "risk", "--in", str(folder / "asked.csv"), "--out", str(folder / "out.csv")),
        ("label", "risk", str(folder / "outcomes.csv")),
    ):
        ended = forks.run(folder, *words)
        assert ended.code == 0, ended.said


def test_two_runs_take_each_row_over_once_and_make_one_of_each_version(forks, tmp_path):
    for name in ("one", "two"):
        land(empty(tmp_path / name), "rows1.csv", rows(0, 2000))
    assert forks.run(tmp_path / "one", "run").code == 0
    both(forks, tmp_path / "two", "run")
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert len(entries(tmp_path / "two", kind="run", verb="start")) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("label", "risk", "{folder}/outcomes.csv"),
        ("predict", "risk", "--in", "{folder}/asked.csv", "--out", "{folder}/out.csv"),
    ],
    ids=["label", "predict"],
)
def test_a_file_that_two_commands_take_at_once_is_taken_once(forks, tmp_path, words):
    once, twice = (reportable(tmp_path / name) for name in ("one", "two"))
    assert forks.run(once, *(word.format(folder=once) for word in words)).code == 0
    both(forks, twice, *(word.format(folder=twice) for word in words))
    assert contents(twice) == contents(once)


def test_two_reports_on_the_same_facts_are_one_report_one_decision_and_one_run(forks, tmp_path):
    folder = reportable(tmp_path / "project")
    before_report(forks, folder)
    both(forks, folder, *REPORT)
    assert len(entries(folder, kind="report")) == 1
    assert len(entries(folder, kind="action", verb="decide")) == 1
    assert len(entries(folder, kind="action", verb="conclude")) == 1
    assert len(entries(folder, kind="run", verb="start")) == 2  # the first one, and the retraining


def test_two_rotations_of_the_root_key_are_both_kept(forks, tmp_path):
    folder = fitted(tmp_path / "project")
    made = {json.loads(one.said)["answer"]["key"] for one in both(
        forks, folder, "access", "rotate", "--json"
    )}  # fmt: skip
    assert len(made) == 2
    assert made < {*Keys(folder / "root.key").public()}
    contents(folder)


def test_a_second_server_on_the_same_port_is_refused_and_the_first_goes_on(forks, tmp_path):
    server = Served(forks, fitted(tmp_path / "project"))
    with load(server) as threads:
        second = forks.run(tmp_path / "project", "serve", "--port", str(server.port))
        more(threads)
    assert second.code == 4
    assert second.said.startswith(f"CN-SERVE-001: 127.0.0.1:{server.port} cannot be bound")
    assert "Traceback" not in second.said
    server.end()
    assert_kept(tmp_path / "project", threads)


def test_two_servers_flush_one_project_and_what_one_that_is_killed_leaves_the_other_flushes(
    forks, tmp_path
):
    folder = fitted(tmp_path / "project")
    one, two = Served(forks, folder), Served(forks, folder)
    with load(one, first=0) as threads, load(two, first=10) as others:
        until(lambda: len(predictions(folder)) > 20)
        more(threads + others)
        one.kill()
    acknowledged = {key for thread in threads for key in thread.acknowledged}
    until(lambda: acknowledged <= {*predictions(folder)})
    two.end()
    assert_kept(folder, threads + others)


def start_stopping(forks: Forks, folder, words, path: str = "") -> Command:
    """Start a command that stops before its first write to `path`, or in its first fit."""
    if path:
        return forks.start(folder, *words, fault=Fault(path, how="stop", times=1))
    return forks.start(folder, *words, environment={"STOP_IN_FIT": "1"})


def stopped(folder, command: Command) -> None:
    """Wait until a command has stopped at its write, then let what it holds run out."""
    until(lambda: psutil.Process(command.pid).status() == psutil.STATUS_STOPPED)
    with open_workspace(folder) as workspace, workspace.stores.database.write() as connection:
        connection.execute(sa.update(leases).values(until=0.5))
        connection.execute(sa.update(jobs).values(lease_until=0.5))


@pytest.mark.parametrize(
    ("words", "path", "codes"),
    [
        (("run",), "/tables/rows/_delta_log/", {"CN-LEASE-001"}),
        (("label", "risk", "{folder}/outcomes.csv"), "/labels.risk/part", {"CN-LEASE-001"}),
        (("run", "risk"), "", {"CN-LEASE-001"}),
    ],
    ids=["ingest", "label", "fit"],
)
def test_a_command_that_stopped_and_comes_back_is_refused_and_nothing_is_doubled(
    forks, tmp_path, words, path, codes
):
    folder = reportable(tmp_path / "project")
    asked = [word.format(folder=folder) for word in words]
    late = start_stopping(forks, folder, asked, path)
    stopped(folder, late)
    other = forks.run(folder, *asked)
    assert other.code == 0, other.said
    before = contents(folder)
    os.kill(late.pid, signal.SIGCONT)
    ended = late.wait()
    assert (ended.code, ended.said.count("CN-")) == (3, 1), ended.said
    assert any(code in ended.said for code in codes), ended.said
    assert contents(folder) == before
    again = forks.run(folder, *asked)
    assert again.code == 0, again.said
    newest = {key: value for key, value in contents(folder).items() if key in before}
    assert newest == before


def test_a_worker_that_stopped_in_a_fit_and_comes_back_registers_and_concludes_nothing(
    forks, tmp_path
):
    folder = reportable(tmp_path / "project")
    before_report(forks, folder)
    late = start_stopping(forks, folder, REPORT)
    stopped(folder, late)
    worker = forks.start(folder, "worker")
    until(lambda: ": promote: " in worker.said)
    before = contents(folder)
    os.kill(late.pid, signal.SIGCONT)
    ended = late.wait()
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait().code == 0
    assert ended.code == 3, ended.said
    assert ended.said.startswith(("CN-JOB-001", "CN-LEASE-001")), ended.said
    assert contents(folder) == before
    assert len(entries(folder, kind="action", verb="conclude")) == 1
    assert len(entries(folder, kind="model", verb="register")) == 2


def test_a_flusher_that_stopped_and_comes_back_doubles_nothing(forks, tmp_path):
    folder = fitted(tmp_path / "project")
    fault = Fault("/tables/predictions.risk/_delta_log/", how="stop", times=1)
    late = Served(forks, folder, fault)
    with load(late) as threads:
        until(lambda: psutil.Process(late.command.pid).status() == psutil.STATUS_STOPPED)
        other = Served(forks, folder)
        with load(other, first=10) as others:  # its flusher waits, and nothing else does
            killed = other.worker
            os.kill(killed, signal.SIGKILL)
            until(lambda: other.worker not in (0, killed), within_s=20)
            more(others)
        stopped(folder, late.command)
        acknowledged = {key for thread in threads for key in thread.acknowledged}
        until(lambda: acknowledged <= {*predictions(folder)})
        os.kill(late.command.pid, signal.SIGCONT)
        until(lambda: "predictions of risk: CN-" in late.command.said)
        more(threads)
    said = late.end()
    other.end()
    assert "CN-LEASE-001" in said
    assert_kept(folder, threads + others)


def test_a_command_that_stopped_in_the_export_of_heads_keeps_no_other_from_its_work(
    forks, tmp_path
):
    folder = fitted(tmp_path / "project")
    promote = ("model", "promote", "risk@1")
    late = forks.start(folder, *promote, fault=Fault("/heads.jsonl", how="stop", times=1))
    until(lambda: psutil.Process(late.pid).status() == psutil.STATUS_STOPPED)
    other = forks.run(folder, *promote)
    assert (other.code, other.said.count("CN-LEDGER-001")) == (4, 1), other.said
    os.kill(late.pid, signal.SIGCONT)
    assert late.wait().code == 0
    assert forks.run(folder, *promote).code == 0
    contents(folder)
    with open_workspace(folder) as workspace:
        last = workspace.stores.ledger.heads()[-1].last
        made = workspace.session("test").newest("deployment", "risk").ref.version
    assert json.loads((folder / "heads.jsonl").read_text().splitlines()[-1])["last"] == last
    assert made == 4


STOPS_BEFORE_PROMOTING = """
import os, signal, sys
from pathlib import Path
from colonnade.base.errors import ColonnadeError
from colonnade.govern.session import Session
from colonnade.lifecycle import promote
from colonnade.records.ref import Ref
from colonnade.wiring import open_workspace

whole = Session.change

def stops(*arguments):
    os.kill(os.getpid(), signal.SIGSTOP)
    return whole(*arguments)

with open_workspace(Path(sys.argv[2])) as workspace:
    session = workspace.session("test")
    version = session.version(Ref("model", "risk"))
    Session.change = stops
    try:
        promote.promote(session, "risk", version, "late")
    except ColonnadeError as error:
        print(error)
    Session.change = whole
"""


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(forks, start, tmp_path):
    folder = fitted(tmp_path / "project")
    late = start(STOPS_BEFORE_PROMOTING, folder)
    os.waitid(os.P_PID, late.pid, os.WSTOPPED)
    assert forks.run(folder, "model", "promote", "risk@1").code == 0
    os.kill(late.pid, signal.SIGCONT)
    said, _ = late.communicate(timeout=60)
    assert said.startswith("CN-DEPLOY-004: admin decided at the same moment: endpoint risk")
    with open_workspace(folder) as workspace:
        assert workspace.session("test").version(Ref("deployment", "risk")).ref.version == 2
