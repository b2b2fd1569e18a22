"""`colonnade run`, promotion, roll-back: what is up to date is left, what was taken back stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, NotFoundError, UsageError
from colonnade.lifecycle import pipeline, promote
from colonnade.lifecycle.status import status
from colonnade.project import Project
from colonnade.records.deployment import Deployment
from colonnade.records.ref import Ref, parse
from colonnade.wiring import open_workspace
from tests.projects import PROJECT, carry_out, colonnade, empty, fitted, land, rows


def states(steps: list[pipeline.Step]) -> list[tuple[str, str, str | None]]:
    return [(step.kind, step.state, step.made) for step in steps]


def deploy(folder: Path, *versions: str) -> None:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        for version in versions:
            if version == "back":
                promote.rollback(session, "risk", "worse")
            else:
                entry = session.version(parse(f"model/{version}"))
                promote.promote(session, "risk", entry, "by hand")


def live(folder: Path) -> Deployment | None:
    with open_workspace(folder) as workspace:
        return promote.live(workspace.session("test"), "risk")


def with_versions(folder: Path, count: int) -> Path:
    """A project with risk@1 to risk@count, of which risk@1 is live."""
    fitted(folder, PROJECT.replace('"auc > champion"', '"auc >= 0.50"'))
    text = (folder / "project.py").read_text()
    for number in range(2, count + 1):
        (folder / "project.py").write_text(text.replace("n_jobs=1", f"max_depth={number}"))
        with open_workspace(folder) as workspace:
            session = workspace.session("test")
            found, done = pipeline.fitted(
                session,
                workspace.project.models["risk"],
                workspace.folder,
                session.version(Ref("table", "examples")),
                promote.champion(session, "risk"),
                "test",
            )
            assert done
            assert found.version.ref.version == number
    return folder


def test_the_second_run_does_nothing(tmp_path):
    fitted(tmp_path)
    with open_workspace(tmp_path) as workspace:
        before = workspace.session("test").entries()
    assert states(carry_out(tmp_path)) == [
        ("source", "up to date", "rows@1"),
        ("table", "up to date", "examples@1"),
        ("model", "left", "risk@1"),
    ]
    with open_workspace(tmp_path) as workspace:
        assert workspace.session("test").entries() == before


def test_a_model_without_a_trigger_is_up_to_date(tmp_path):
    empty(tmp_path, PROJECT.replace(', retrain="auc < 0.65 or drift"', ""))
    land(tmp_path, "rows1.csv", rows(0, 400))
    assert states(carry_out(tmp_path))[2:] == [
        ("model", "done", "risk@1"),
        ("endpoint", "done", "risk@1"),
    ]
    assert states(carry_out(tmp_path))[2:] == [("model", "up to date", "risk@1")]


def test_names_carry_out_only_what_they_need(tmp_path):
    empty(tmp_path, PROJECT.replace("project.deploy", 'project.source("other", "landing/other.csv")'
                                    "\nproject.deploy"))  # fmt: skip
    land(tmp_path, "rows1.csv", rows(0, 400))
    assert states(carry_out(tmp_path, "examples")) == [
        ("source", "done", "rows@1"),
        ("table", "done", "examples@1"),
    ]
    assert [step.kind for step in carry_out(tmp_path, "rows")] == ["source"]


def test_an_unknown_name_is_refused_with_a_hint(tmp_path):
    fitted(tmp_path)
    with pytest.raises(NotFoundError, match="declares no 'exmples'") as caught:
        carry_out(tmp_path, "exmples")
    assert caught.value.code == "CN-RUN-001"
    assert caught.value.fix == "did you mean 'examples'?"


def test_a_model_with_a_trigger_and_a_champion_is_left_even_if_its_table_is_new(tmp_path):
    fitted(tmp_path)
    land(tmp_path, "rows2.csv", rows(2000, 400))
    step = carry_out(tmp_path)[-1]
    assert (step.state, step.made) == ("left", "risk@1")
    assert step.detail == "its endpoint fits it again when auc < 0.65 or drift"


def test_a_changed_model_that_is_left_says_so_and_how_it_is_fitted_now(tmp_path):
    fitted(tmp_path, PROJECT.replace("n_estimators=10", "n_estimators=12"))
    step = carry_out(tmp_path)[-1]
    assert (step.state, step.made) == ("left", "risk@1")
    assert "has changed since risk@1" in step.detail
    assert "colonnade run risk" in step.detail
    assert step.why == ("function risk changed",)


def test_a_model_that_is_named_is_fitted_all_the_same(tmp_path):
    fitted(tmp_path, PROJECT.replace('"auc > champion"', '"auc >= 0.50"'))
    land(tmp_path, "rows2.csv", rows(2000, 400))
    assert states(carry_out(tmp_path, "risk"))[2:] == [
        ("model", "done", "risk@2"),
        ("endpoint", "done", "risk@2"),
    ]
    assert live(tmp_path).previous == "risk@1"


def test_a_gate_that_fails_is_exit_1_and_the_run_is_not_made_again(tmp_path):
    empty(tmp_path, PROJECT.replace("auc >= 0.60", "auc >= 0.99"))
    land(tmp_path, "rows1.csv", rows(0, 400))
    assert colonnade(tmp_path, "run") == 1
    step = carry_out(tmp_path)[-1]
    assert (step.state, step.made) == ("rejected", None)
    assert "auc >= 0.99: auc 0." in step.detail
    assert live(tmp_path) is None
    with open_workspace(tmp_path) as workspace:
        assert len(workspace.session("test").entries(kind="run", verb="start")) == 1


def test_a_rejected_run_is_made_again_beside_another_champion(tmp_path):
    with_versions(tmp_path, 2)
    (tmp_path / "project.py").write_text(PROJECT.replace('["x", "w", "high"]', '["x"]'))
    land(tmp_path, "rows2.csv", rows(2000, 600))
    assert carry_out(tmp_path, "risk")[2].state == "rejected"
    assert carry_out(tmp_path, "risk")[2].state == "rejected"
    deploy(tmp_path, "risk@2")
    carry_out(tmp_path, "risk")
    with open_workspace(tmp_path) as workspace:
        finished = workspace.session("test").entries(kind="run", verb="finish")
    assert [entry.body["champion"] for entry in finished][:2] == ["risk@2", "risk@1"]


def test_steps_before_one_that_fails_stand(tmp_path):
    empty(tmp_path, PROJECT.replace("rows.with_columns", "rows.no_such"))
    land(tmp_path, "rows1.csv", rows(0, 400))
    with pytest.raises(ColonnadeError):
        carry_out(tmp_path)
    (tmp_path / "project.py").write_text(PROJECT)
    assert states(carry_out(tmp_path))[:2] == [
        ("source", "up to date", "rows@1"),
        ("table", "done", "examples@1"),
    ]


def test_roll_back_goes_one_promotion_back_each_time(tmp_path):
    with_versions(tmp_path, 3)
    deploy(tmp_path, "risk@2", "risk@3")
    for expected in ("risk@2", "risk@1"):
        deploy(tmp_path, "back")
        assert live(tmp_path).model == expected
    with pytest.raises(UsageError) as caught:
        deploy(tmp_path, "back")
    assert caught.value.code == "CN-DEPLOY-001"
    deploy(tmp_path, "risk@3", "back")
    assert live(tmp_path).model == "risk@1"


def test_roll_back_of_an_older_version_goes_to_what_it_replaced(tmp_path):
    with_versions(tmp_path, 2)
    deploy(tmp_path, "risk@2", "risk@1", "back")
    assert live(tmp_path).model == "risk@2"


def test_an_endpoint_without_deployments_cannot_roll_back(tmp_path):
    empty(tmp_path)
    with pytest.raises(UsageError) as caught:
        deploy(tmp_path, "back")
    assert caught.value.code == "CN-DEPLOY-001"


def test_a_deployment_is_bound_to_the_bytes_and_names_the_one_before(tmp_path):
    with_versions(tmp_path, 2)
    deploy(tmp_path, "risk@2")
    found = live(tmp_path)
    with open_workspace(tmp_path) as workspace:
        digest = workspace.session("test").version(parse("model/risk@2")).body["digest"]
    assert (found.model, found.digest, found.previous) == ("risk@2", digest, "risk@1")
    assert found.reason == "by hand"


def test_what_a_person_took_back_stays_back(tmp_path):
    fitted(tmp_path, PROJECT.replace('"auc > champion"', '"auc >= 0.50"'))
    land(tmp_path, "rows2.csv", rows(2000, 400))
    carry_out(tmp_path, "risk")
    deploy(tmp_path, "back")
    assert states(carry_out(tmp_path, "risk"))[2:] == [("model", "up to date", "risk@2")]
    assert live(tmp_path).model == "risk@1"


def test_an_endpoint_may_have_a_name_of_its_own(tmp_path):
    empty(tmp_path, PROJECT.replace("deploy(risk,", 'deploy(risk, name="front",'))
    land(tmp_path, "rows1.csv", rows(0, 400))
    assert states(carry_out(tmp_path))[-1] == ("endpoint", "done", "front@1")
    assert states(carry_out(tmp_path))[-1] == ("model", "left", "risk@1")


def test_status_says_what_waits_and_what_changed(tmp_path):
    fitted(tmp_path)
    land(tmp_path, "rows2.csv", rows(2000, 10))
    land(tmp_path, "rows1.csv", rows(0, 1999))
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        found = status(session, workspace.project, workspace.folder)
    assert found["sources"]["rows"] == {
        "version": "rows@1",
        "rows": 2000,
        "waiting": ["landing/rows2.csv"],
        "changed": ["landing/rows1.csv"],
    }
    assert found["tables"]["examples"]["behind"] == []
    assert found["endpoints"]["risk"]["model"] == "risk@1"
    assert found["endpoints"]["risk"]["retrain"] == "auc < 0.65 or drift"
    assert found["jobs"] == []


def test_status_of_a_project_in_which_nothing_was_done(tmp_path):
    empty(tmp_path)
    with open_workspace(tmp_path) as workspace:
        found = status(workspace.session("test"), workspace.project, workspace.folder)
    assert found["sources"]["rows"]["version"] is None
    assert found["tables"]["examples"] == {"version": None, "behind": ["rows"]}
    assert found["models"]["risk"] == {"newest": None}
    assert found["endpoints"]["risk"]["model"] is None


def test_a_table_behind_its_input_says_so(tmp_path):
    fitted(tmp_path)
    land(tmp_path, "rows2.csv", rows(2000, 10))
    carry_out(tmp_path, "rows")
    with open_workspace(tmp_path) as workspace:
        found = status(workspace.session("test"), workspace.project, workspace.folder)
    assert found["tables"]["examples"]["behind"] == ["rows@2"]


def test_a_file_that_arrived_waits_until_nobody_writes_to_it(tmp_path):
    fitted(tmp_path)
    project = Project("p")
    project.source("rows", "landing/rows*.csv", schedule="on arrival")
    project.source("quiet", "landing/rows*.csv")

    def arrived(settled_s: float) -> dict[str, int]:
        with open_workspace(tmp_path) as workspace:
            session = workspace.session("test")
            return pipeline.arrived(session, project, workspace.folder, settled_s)

    assert arrived(0.0) == {}
    path = tmp_path / "landing" / "rows2.csv"
    pl.DataFrame({"x": [1]}).write_csv(path)
    assert arrived(3600.0) == {}
    assert arrived(0.0) == {"landing/rows2.csv": path.stat().st_mtime_ns}
