"""Backwards to the files, forwards to what they touched; then is then."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import NotFoundError
from colonnade.data.label import take_labels
from colonnade.govern import access
from colonnade.govern.models import open_version
from colonnade.lifecycle import promote
from colonnade.lifecycle.predict import predict
from colonnade.lifecycle.trace import Answer, trace
from colonnade.monitor import watch
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import Workspace, open_workspace
from tests.projects import PROJECT, START, STEP, carry_out, fitted, land, rows

OPEN = PROJECT.replace('"auc > champion"', '"auc >= 0.50"')


def traced(folder: Path, what: str) -> Answer:
    with open_workspace(folder) as workspace:
        return trace(workspace.session("test"), what, workspace.folder)


def refused(folder: Path, what: str) -> NotFoundError:
    with pytest.raises(NotFoundError) as caught:
        traced(folder, what)
    return caught.value


def scored(folder: Path, first: int, count: int = 10, name: str = "in.csv") -> list[str]:
    """Predict rows by the live version; returns the ids."""
    frame = rows(first, count).with_columns(high=pl.col("x") > 0.5)
    frame.drop("y").write_csv(folder / name)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        entry = promote.champion(session, "risk")
        predict(session, "risk", entry, folder / name, folder / f"out-{name}")
    return pl.read_csv(folder / f"out-{name}")["prediction_id"].to_list()


def label(folder: Path, first: int, count: int = 10, name: str = "labels.csv") -> None:
    rows(first, count).select("id", "y").write_csv(folder / name)

    def take(workspace: Workspace) -> None:
        session = workspace.session("test")
        signature = open_version(session, promote.champion(session, "risk")).signature
        take_labels(session, "risk", signature, "y", folder / name)

    with open_workspace(folder) as workspace:
        take(workspace)


def refs(node: Answer) -> set[str]:
    """Every thing that a node was made from, at any depth."""
    found = {node["ref"]}
    for parent in node.get("from", []):
        found |= refs(parent)
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fitted(tmp_path, OPEN)


def test_a_model_leads_back_to_run_code_tables_contract_and_files(folder):
    found = traced(folder, "risk@1")["then"]
    file = digest(folder / "landing" / "rows1.csv")
    named = refs(found)
    assert {"model/risk@1", "table/examples@1", "table/rows@1", "contract/rows@1"} <= named
    assert f"file/{file}" in named
    run = found["from"][0]
    assert run["what"]["finish"]["state"] == "registered"
    assert run["what"]["code"]["files"].keys() == {"project.py"}
    table = run["from"][0]
    assert table["ref"] == "table/examples@1"
    source = table["from"][0]
    assert source["what"]["validation"]["good"] == 2000
    assert source["what"]["landed"][0]["sha256"] == file


@pytest.mark.parametrize("name", ["risk@1", "model/risk@1", "risk", "model/risk"])
def test_a_version_goes_by_several_names(folder, name):
    assert traced(folder, name)["then"]["ref"] == "model/risk@1"


def test_a_run_and_an_entry_go_by_their_ids(folder):
    run = traced(folder, "risk@1")["then"]["from"][0]
    chain = traced(folder, run["ref"].removeprefix("run/"))["then"]["chain"]
    assert [node["verb"] for node in chain] == ["start", "finish"]
    assert traced(folder, run["entry"])["then"]["entry"] == run["entry"]


def test_a_landing_file_goes_by_its_path_and_by_its_digest(folder):
    path = folder / "landing" / "rows1.csv"
    by_name = traced(folder, "landing/rows1.csv")
    assert by_name["then"]["taken_over_by"][0]["ref"] == "table/rows@1"
    assert traced(folder, str(path)) == by_name
    by_digest = traced(folder, digest(path))
    assert by_digest["since"] == by_name["since"]


def test_a_prediction_says_by_what_it_was_made(folder):
    identifier = scored(folder, 2000)[0]
    found = traced(folder, identifier)
    then = found["then"]
    assert then["prediction"]["prediction_id"] == identifier
    assert then["prediction"]["key"] == "2000"
    assert then["log"]["digest_matches"] is True
    assert then["model"]["ref"] == "model/risk@1"
    assert then["deployment"] is None
    assert then["explanation"] is None
    assert then["monitoring"] == {"report": None, "action": None}
    assert found["since"] == {"labels": []}


def test_labels_and_their_corrections_are_since(folder):
    identifier = scored(folder, 2000)[0]
    before = traced(folder, identifier)["then"]
    label(folder, 2000)
    label(folder, 2000, 1, "again.csv")
    after = traced(folder, identifier)
    assert after["then"] == before
    assert [found["key"] for found in after["since"]["labels"]] == ["2000", "2000"]


def test_the_monitoring_of_then_is_what_was_known_then(folder):
    first = scored(folder, 2000)[0]
    label(folder, 2000)

    def report(workspace: Workspace) -> None:
        window = (START + STEP * 2000, START + STEP * 2100)
        watch.report(workspace.session("test"), "risk", window)

    with open_workspace(folder) as workspace:
        report(workspace)
    second = scored(folder, 2010, name="later.csv")[0]
    assert traced(folder, first)["then"]["monitoring"]["report"] is None
    assert traced(folder, second)["then"]["monitoring"]["report"]["ref"] == "report/risk@1"


def test_then_is_the_same_whatever_comes_afterwards(folder):
    identifier = scored(folder, 2000)[0]
    before = json.dumps(traced(folder, identifier)["then"])
    land(folder, "rows2.csv", rows(2000, 500))
    carry_out(folder, "risk")
    label(folder, 2000)
    scored(folder, 2010, name="later.csv")
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        promote.rollback(session, "risk", "test")
        watch.report(session, "risk", (START + STEP * 2000, START + STEP * 2100))
        access.rotate_root(session, workspace.stores)
    assert json.dumps(traced(folder, identifier)["then"]) == before


def test_forwards_from_a_file_reaches_what_it_touched_and_nothing_else(folder):
    scored(folder, 5000, 7)
    land(folder, "rows2.csv", rows(2000, 500))
    carry_out(folder, "risk")
    scored(folder, 6000, 5, "later.csv")
    first = traced(folder, "landing/rows1.csv")["since"]
    second = traced(folder, "landing/rows2.csv")["since"]

    def reached(since: Answer, kind: str) -> list[str]:
        return [thing["ref"] for thing in since.get(kind, [])]

    assert reached(first, "model") == ["model/risk@1", "model/risk@2"]
    assert reached(second, "model") == ["model/risk@2"]
    assert first["predictions"] == {"risk@1": 7, "risk@2": 5}
    assert second["predictions"] == {"risk@2": 5}
    tables = [ref for ref in reached(first, "table") if "." not in ref]
    assert sorted(tables) == [
        "table/examples@1",
        "table/examples@2",
        "table/rows@1",
        "table/rows@2",
    ]
    tables = [ref for ref in reached(second, "table") if "." not in ref]
    assert sorted(tables) == ["table/examples@2", "table/rows@2"]
    assert reached(first, "deployment") == ["deployment/risk@1", "deployment/risk@2"]
    assert reached(second, "deployment") == ["deployment/risk@2"]


def test_forwards_counts_the_predictions_of_all_endpoints(folder):
    scored(folder, 5000, 7)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        entry = promote.champion(session, "risk")
        predict(session, "shadow", entry, folder / "in.csv", folder / "shadow.csv")
    assert traced(folder, "risk@1")["since"]["predictions"] == {"risk@1": 14}


def test_what_has_no_name_is_said_with_where_to_look(folder):
    for what in ("nothing", "01a204e9-7f32-7cd0-982f-0483c028d5fa", "x" * 5000, "risk@one", ""):
        error = refused(folder, what)
        assert error.code == "CN-TRACE-001"
        assert "colonnade runs ls" in error.fix
    assert refused(folder, "risk@9").code == "CN-REF-002"
    assert refused(folder, "0" * 64).code == "CN-TRACE-002"


def test_a_landing_file_that_changed_is_said_with_what_it_was(folder):
    was = digest(folder / "landing" / "rows1.csv")
    path = land(folder, "rows1.csv", rows(0, 1999))
    for name in ("landing/rows1.csv", str(path)):
        error = refused(folder, name)
        assert error.code == "CN-TRACE-002"
        assert f"a file of this name was, with SHA-256 {was}: it has changed" in error.message
    new = land(folder, "other.csv", rows(0, 3))
    assert "it has changed" not in refused(folder, str(new)).message


def test_thousands_of_versions_of_a_table_do_not_nest(folder):
    body = TableVersion(mode="append", step="s", delta_version=0)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        for table in ("rows", "predictions.risk"):
            newest = session.newest("table", table)
            with session.change("write", Ref("table", table)) as change:
                for number in range(1200):
                    parents = [f"file/{number:064}", *([newest.subject] if newest else [])]
                    newest = change.version("write", Ref("table", table), lambda _: body, parents)
    grown = traced(folder, "rows@1201")["then"]
    files = [ref for ref in refs(grown) if ref.startswith("file/")]
    assert len(files) == 1201
    assert len(grown["from"]) == 1201
    ours = traced(folder, "predictions.risk@1200")["then"]
    assert refs(ours) == {
        "table/predictions.risk@1200",
        "table/predictions.risk@1199",
        f"file/{1199:064}",
    }
