"""A part of the flights year through real processes, its figures computed again from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from colonnade.records.prediction import predictions_of
from colonnade.records.ref import Ref
from colonnade.records.report import Report
from colonnade.wiring import open_workspace

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {example!r})
import landing, replay
from rich.console import Console
plan = replay.Plan(trained=landing.MONTHS[:2], scored=landing.MONTHS[2:5], single_rows=60)
replay.replay(Path({folder!r}), Console(), plan)
"""
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay") / "flights"
    script = SCRIPT.format(example=str(EXAMPLE), folder=str(folder))
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def workspace(folder):
    with open_workspace(folder) as workspace:
        yield workspace


def test_every_flight_of_the_scored_months_is_predicted_once(folder, workspace):
    session = workspace.session("test")
    made = session.scan(Ref("table", predictions_of("late_departure"))).collect()
    landed = pl.concat(
        pl.read_csv(folder / "landing" / f"flights-2013-0{month}.csv", infer_schema=False)
        for month in (3, 4, 5)
    )
    set_aside = session.newest("table", "quarantine.flights")
    bad = 0 if set_aside is None else session.scan(set_aside.ref).collect()
    scored = landed.height - (0 if set_aside is None else _of(bad, ("-03.", "-04.", "-05.")))
    assert made.height == scored
    assert made["prediction_id"].n_unique() == made.height
    assert made["key"].n_unique() == made.height


def _of(bad, months):
    return bad.filter(pl.any_horizontal(pl.col("file").str.contains(m) for m in months)).height


def test_a_report_says_what_the_files_say(folder, workspace):
    session = workspace.session("test")
    first = session.version(Ref("report", "late_departure", 1)).read(Report)
    outcomes = pl.read_csv(folder / "landing" / "outcomes-2013-03.csv", infer_schema=False)
    truth = outcomes.select(
        pl.concat_str("departs_at", "carrier", "flight", separator="/").alias("key"), "late"
    )
    made = session.scan(Ref("table", predictions_of("late_departure"))).collect()
    march = made.filter(pl.col("event_time").dt.month() == 3)
    both = march.join(truth, on="key")
    auc = roc_auc_score((both["late"] == "true").to_numpy(), both["score"].to_numpy())
    assert first.predictions == march.height
    assert first.labelled == both.height
    assert first.facts["auc"] == pytest.approx(auc, abs=1e-9)


def test_the_loop_acted_on_its_own_facts_and_the_ledger_holds(folder, workspace):
    result = json.loads((folder / "result.json").read_text())
    assert [month["month"] for month in result["months"]] == ["2013-03", "2013-04", "2013-05"]
    for month in result["months"]:
        first = month["answered_by"].endswith("@1")
        assert (month["frozen_auc"] == pytest.approx(month["managed_auc"], abs=1e-6)) or not first
        assert month["why"]
    session = workspace.session("test")
    decided = [e for e in session.entries(kind="action") if e.verb == "decide"]
    concluded = [e for e in session.entries(kind="action") if e.verb == "conclude"]
    assert len(decided) == 3
    assert {e.made_from[0] for e in concluded} <= {e.subject for e in decided}
    session.seal()
    assert workspace.verify().holds
