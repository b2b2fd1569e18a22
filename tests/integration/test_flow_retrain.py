"""Report, decision, run, promotion: one recorded chain, once, whatever worker is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError
from colonnade.data.label import take_labels
from colonnade.govern.models import open_version
from colonnade.lifecycle import promote, retrain
from colonnade.lifecycle.predict import predict
from colonnade.monitor import watch
from colonnade.records.action import Action
from colonnade.records.entry import Entry
from colonnade.records.job import Job
from colonnade.records.ref import Ref
from colonnade.records.run import Run
from colonnade.wiring import open_workspace
from tests.projects import (
    PROJECT,
    START,
    STEP,
    carry_out,
    colonnade,
    fitted,
    land,
    process,
    rows,
    until,
)

pytestmark = pytest.mark.timeout(120)
RECENT = PROJECT.replace("examples.X, examples.y", "examples.X[-600:], examples.y[-600:]")
WINDOW = (START + STEP * 2000, START + STEP * 3000)


def reported(folder: Path, law: float = -1.0, project: str = RECENT) -> Path:
    """risk@1 is live; newer rows of another law landed, were predicted, labelled and reported."""
    fitted(folder, project)
    frame = rows(2000, 1000, law=law)
    land(folder, "rows2.csv", frame)
    carry_out(folder, "examples")
    frame.with_columns(high=pl.col("x") > 0.5).drop("y").write_csv(folder / "traffic.csv")
    frame.select("id", "y").write_csv(folder / "labels.csv")
    with open_workspace(folder) as workspace:
        session, here = workspace.session("test"), workspace.folder
        entry = session.version(Ref("model", "risk"))
        predict(session, "risk", entry, here / "traffic.csv", here / "scored.csv")
        signature = open_version(session, entry).signature
        take_labels(session, "risk", signature, "y", here / "labels.csv")
        watch.report(session, "risk", WINDOW)
    return folder


def decide(folder: Path) -> Entry:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        report = session.version(Ref("report", "risk"))
        return retrain.decide(session, workspace.project.endpoints["risk"], "examples", report)


def work(folder: Path) -> Entry | None:
    with open_workspace(folder) as workspace:
        return retrain.work(workspace.session("test"), workspace.project, workspace.folder)


def entries(folder: Path, **wanted: str) -> list[Entry]:
    with open_workspace(folder) as workspace:
        return workspace.session("test").entries(**wanted)


def jobs(folder: Path) -> list[Job]:
    with open_workspace(folder) as workspace:
        return workspace.session("test").open_jobs()


def live(folder: Path) -> str:
    with open_workspace(folder) as workspace:
        return promote.live(workspace.session("test"), "risk").model


def test_a_trigger_that_holds_pins_the_newest_rows_and_wants_a_job(tmp_path):
    reported(tmp_path)
    entry = decide(tmp_path)
    action = entry.read(Action)
    assert (action.action, action.snapshot, action.model) == ("retrain", "examples@2", "risk@1")
    assert action.trigger == action.reason == "auc < 0.65 or drift"
    assert action.facts["auc"] < 0.5
    assert entry.made_from == ("report/risk@1",)
    assert [(job.key, job.state, job.wanted_by) for job in jobs(tmp_path)] == [
        ("retrain/risk/1", "waiting", entry.id)
    ]


def test_a_trigger_that_does_not_hold_wants_nothing(tmp_path):
    reported(tmp_path, law=1.0)
    action = decide(tmp_path).read(Action)
    assert (action.action, action.reason) == ("none", "not auc < 0.65 or drift")
    assert jobs(tmp_path) == []
    assert work(tmp_path) is None


def test_a_fact_that_is_missing_does_not_fire(tmp_path):
    reported(tmp_path, law=1.0, project=RECENT.replace("auc < 0.65 or drift", "rmse < 1"))
    action = decide(tmp_path).read(Action)
    assert (action.action, action.reason) == (
        "none",
        "not known whether rmse < 1: a value is missing",
    )


def test_an_endpoint_without_a_trigger_is_left_to_people(tmp_path):
    without = RECENT.replace(', retrain="auc < 0.65 or drift"', "")
    reported(tmp_path, project=without)
    assert decide(tmp_path).read(Action).reason == "the endpoint declares no trigger"


def test_the_same_report_wants_one_job(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    decide(tmp_path)
    assert len(jobs(tmp_path)) == 1


def report(folder: Path) -> tuple[int, list[str]]:
    """`colonnade report`: how many reports there are, and which actions, the oldest first."""
    window = "..".join(moment.strftime("%Y-%m-%dT%H:%M:%S") for moment in WINDOW)
    assert colonnade(folder, "report", "risk", "--window", window) == 0
    actions = [entry.read(Action).action for entry in entries(folder, kind="action")]
    return len(entries(folder, kind="report")), actions[::-1]


def test_a_report_whose_action_was_not_carried_out_is_carried_on(tmp_path):
    reported(tmp_path)
    assert report(tmp_path) == (1, ["retrain", "promote"])
    assert live(tmp_path) == "risk@2"
    assert report(tmp_path) == (1, ["retrain", "promote", "retrain", "keep"])


def test_an_action_that_was_decided_and_not_carried_out_is_carried_on(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    assert report(tmp_path) == (1, ["retrain", "promote"])


def test_a_report_is_made_anew_when_labels_have_come_since(tmp_path):
    reported(tmp_path)
    frame = pl.read_csv(tmp_path / "labels.csv").head(10)
    frame.write_csv(tmp_path / "corrected.csv")
    assert colonnade(tmp_path, "label", "risk", str(tmp_path / "corrected.csv")) == 0
    assert report(tmp_path) == (2, ["retrain", "promote"])


def test_a_report_on_another_window_is_made_anew(tmp_path):
    reported(tmp_path)
    assert colonnade(tmp_path, "report", "risk", "--window", "2013-02") == 0
    assert len(entries(tmp_path, kind="report")) == 2


def test_a_better_model_is_promoted_and_the_chain_can_be_followed(tmp_path):
    reported(tmp_path)
    decided = decide(tmp_path)
    concluded = work(tmp_path)
    action = concluded.read(Action)
    assert (action.action, action.model, action.snapshot) == ("promote", "risk@2", "examples@2")
    assert live(tmp_path) == "risk@2"
    assert jobs(tmp_path) == []
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        deployment = session.version(Ref("deployment", "risk"))
        run = session.entries(kind="run", verb="start", subject=f"run/{action.run}")[0].read(Run)
        job = workspace.stores.jobs.get("retrain/risk/1")
    assert deployment.made_from == ("model/risk@2", concluded.subject)
    assert concluded.made_from == (decided.subject, f"run/{action.run}")
    assert decided.made_from == ("report/risk@1",)
    assert (run.table, run.reason) == ("examples@2", decided.subject)
    assert (job.state, job.result) == ("done", concluded.subject)


def test_a_model_that_is_no_better_is_not_promoted(tmp_path):
    reported(tmp_path, 1.0, RECENT.replace("-600:", ":300").replace("auc < 0.65", "auc < 1"))
    decide(tmp_path)
    action = work(tmp_path).read(Action)
    assert (action.action, action.model) == ("keep", "risk@1")
    assert "auc > champion" in action.reason
    assert live(tmp_path) == "risk@1"


def test_the_snapshot_is_pinned_whatever_lands_before_the_worker_comes(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    land(tmp_path, "rows3.csv", rows(3000, 500))
    carry_out(tmp_path, "examples")
    assert work(tmp_path).read(Action).snapshot == "examples@2"


def test_what_was_rolled_back_is_not_promoted_again_from_the_same_rows(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    work(tmp_path)
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        promote.rollback(session, "risk", "complaints")
        watch.report(session, "risk", (WINDOW[0], WINDOW[1] + STEP))
    decide(tmp_path)
    action = work(tmp_path).read(Action)
    assert (action.action, action.model) == ("keep", "risk@1")
    assert action.reason == "risk@2 is what this code makes of these rows, and it was live before"
    assert live(tmp_path) == "risk@1"


def test_what_was_judged_beside_another_champion_is_not_promoted(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    with open_workspace(tmp_path) as workspace:
        session, folder = workspace.session("test"), workspace.folder
        fit = retrain.pipeline.fitted
        model = workspace.project.models["risk"]
        table = session.version(Ref("table", "examples"))
        found, _ = fit(session, model, folder, table, None, "by hand")
        assert found.result.champion is None
    action = work(tmp_path).read(Action)
    assert action.action == "keep"
    assert action.reason == "risk@2 was judged beside None, but risk@1 is live by now"


def test_a_run_that_fails_fails_its_job_without_the_users_words(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    text = RECENT.replace("return LGBM", "raise ValueError('Mrs Secret')\n    return LGBM")
    (tmp_path / "project.py").write_text(text)
    with pytest.raises(ColonnadeError, match="Mrs Secret") as caught:
        work(tmp_path)
    assert caught.value.code == "CN-CODE-001"
    job = jobs(tmp_path)[0]
    assert (job.state, job.result) == ("failed", "the user's code raised")
    end = entries(tmp_path, kind="job", verb="fail")[0]
    assert end.body == {"code": "CN-CODE-001", "message": "the user's code raised"}
    assert work(tmp_path) is None
    assert live(tmp_path) == "risk@1"


def test_what_nobody_foresaw_fails_the_job_and_is_not_tried_again_and_again(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    tables = tmp_path / ".colonnade" / "tables"
    (log,) = (path for path in tables.rglob("_delta_log") if "examples" in str(path))
    for path in log.iterdir():
        path.write_bytes(b"a name that nobody may read")
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of which kind, nobody foresaw)
        work(tmp_path)
    assert not isinstance(caught.value, ColonnadeError)
    job = jobs(tmp_path)[0]
    assert job.state == "failed"
    assert job.result is not None
    assert job.result.startswith("an error that was not foreseen (")
    assert "name" not in job.result
    assert work(tmp_path) is None


def test_an_endpoint_that_is_no_longer_declared_fails_its_job(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    (tmp_path / "project.py").write_text(RECENT.replace("deploy(risk,", 'deploy(risk, name="new",'))
    with pytest.raises(ColonnadeError) as caught:
        work(tmp_path)
    assert caught.value.code == "CN-DEPLOY-003"
    assert jobs(tmp_path)[0].state == "failed"


def test_a_worker_killed_in_the_middle_of_a_fit_is_taken_over(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    waits = """    import time
    from pathlib import Path
    folder = Path(__file__).parent
    (folder / "fitting").touch()
    while (folder / "hold").exists():
        time.sleep(0.02)
    return LGBM"""
    (tmp_path / "project.py").write_text(RECENT.replace("    return LGBM", waits))
    (tmp_path / "hold").touch()
    worker = process(tmp_path, "worker")
    until((tmp_path / "fitting").exists)
    worker.kill()
    worker.communicate()
    (tmp_path / "hold").unlink()
    assert [job.state for job in jobs(tmp_path)] == ["running"]
    action = work(tmp_path).read(Action)
    assert action.action == "promote"
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        assert workspace.stores.jobs.get("retrain/risk/1").attempt == 2
        assert len(session.entries(kind="run", verb="start")) == 3
        assert len(session.entries(kind="run", verb="finish")) == 2
        assert workspace.verify().holds


# Dies when the run is finished and its conclusion is not written: nothing is replaced.
KILL = """
    import os, signal, sys
    from pathlib import Path
    from colonnade.lifecycle import retrain
    from colonnade.wiring import open_workspace

    def dies(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    retrain._conclude = dies
    with open_workspace(Path(sys.argv[1])) as workspace:
        retrain.work(workspace.session("test"), workspace.project, workspace.folder)
"""


def test_a_run_that_was_finished_is_not_made_again(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILL), str(tmp_path)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert live(tmp_path) == "risk@1"
    action = work(tmp_path).read(Action)
    assert (action.action, action.model) == ("promote", "risk@2")
    assert len(entries(tmp_path, kind="run", verb="start")) == 2
    assert live(tmp_path) == "risk@2"


def test_two_workers_carry_a_job_out_once(tmp_path):
    reported(tmp_path)
    decide(tmp_path)
    workers = [process(tmp_path, "worker") for _ in range(2)]
    for worker in workers:
        assert worker.stdout.readline().startswith("waiting for jobs")
    until(lambda: entries(tmp_path, kind="action", verb="conclude"))
    for worker in workers:
        worker.terminate()
    said = ""
    for worker in workers:
        with worker:  # not communicate(): it would miss what was read with the first line
            said += worker.stdout.read()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said.count(": promote: ") == 1
    assert len(entries(tmp_path, kind="action", verb="conclude")) == 1
    assert len(entries(tmp_path, kind="run", verb="start")) == 2
    assert len(entries(tmp_path, kind="model", verb="register")) == 2
    assert entries(tmp_path, kind="deployment")[0].read(promote.Deployment).model == "risk@2"
    with open_workspace(tmp_path) as workspace:
        assert workspace.stores.jobs.get("retrain/risk/1").attempt == 1
