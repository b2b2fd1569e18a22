"""Predictions and labels into a report: what was known then, by version, with drift or without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from colonnade.base import clock
from colonnade.base.errors import NotFoundError, UsageError
from colonnade.data.label import take_labels
from colonnade.govern.models import open_version
from colonnade.lifecycle.predict import predict
from colonnade.monitor import watch
from colonnade.monitor.join import joined
from colonnade.records.ref import Ref
from colonnade.records.report import Report
from colonnade.wiring import Workspace, open_workspace
from tests.projects import START, STEP, carry_out, fitted, rows

FIRST, WEEKS = 2016, 3  # a Tuesday; 336 rows a week
WINDOW = (START + STEP * FIRST, START + STEP * (FIRST + 336 * WEEKS))
ALL = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def traffic(count: int = 336 * WEEKS, **law: float) -> pl.DataFrame:
    return rows(FIRST, count, **law).with_columns(high=pl.col("x") > 0.5)


def score(
    folder: Path, frame: pl.DataFrame, version: int = 1, name: str = "traffic.csv"
) -> pl.DataFrame:
    frame.drop("y").write_csv(folder / name)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        target = folder / f"scored-{name}"
        entry = session.version(Ref("model", "risk", version))
        predict(session, "risk", entry, workspace.folder / name, target)
    return pl.read_csv(target)


def tell(folder: Path, frame: pl.DataFrame, name: str = "labels.csv") -> datetime:
    """Take over labels; returns a moment behind it."""
    frame.write_csv(folder / name)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        signature = open_version(session, session.version(Ref("model", "risk"))).signature
        take_labels(session, "risk", signature, "y", workspace.folder / name)
    return clock.now()


def join(folder: Path, window=ALL, as_of: datetime | None = None) -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return joined(workspace.session("test"), "risk", window, as_of or clock.now())


def report(folder: Path, window=WINDOW) -> Report:
    with open_workspace(folder) as workspace:
        return watch.report(workspace.session("test"), "risk", window).read(Report)


def labels_by_key(folder: Path, **more) -> dict[str, str | None]:
    found = join(folder, **more)
    return dict(zip(found["key"].to_list(), found["label"].to_list(), strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fitted(tmp_path)


def test_a_label_meets_its_prediction_by_key(folder):
    score(folder, traffic(3))
    tell(folder, pl.DataFrame({"id": [2016, 2018], "y": [True, False]}))
    assert labels_by_key(folder) == {"2016": "true", "2017": None, "2018": "false"}


def test_a_label_meets_its_prediction_by_id(folder):
    scored = score(folder, traffic(2))
    tell(folder, scored.select("prediction_id", y=pl.lit(True)).head(1))
    assert labels_by_key(folder) == {"2016": "true", "2017": None}


def test_a_correction_counts_from_when_it_was_recorded(folder):
    score(folder, traffic(1))
    first = tell(folder, pl.DataFrame({"id": [2016], "y": [True]}))
    second = tell(folder, pl.DataFrame({"id": [2016], "y": [False]}), "corrected.csv")
    before = first - timedelta(hours=1)
    assert labels_by_key(folder, as_of=before) == {"2016": None}
    assert labels_by_key(folder, as_of=first) == {"2016": "true"}
    assert labels_by_key(folder, as_of=second) == {"2016": "false"}


@pytest.mark.parametrize("by_id_first", [True, False])
def test_a_correction_counts_whichever_name_it_uses(folder, by_id_first):
    scored = score(folder, traffic(1))
    by_id = scored.select("prediction_id", y=pl.lit("true"))
    by_key = scored.select("id", y=pl.lit("true"))
    first, second = (by_id, by_key) if by_id_first else (by_key, by_id)
    tell(folder, first)
    tell(folder, second.with_columns(y=pl.lit("false")), "corrected.csv")
    assert labels_by_key(folder) == {"2016": "false"}


def test_the_last_of_several_labels_in_one_file_counts(folder):
    score(folder, traffic(1))
    tell(folder, pl.DataFrame({"id": [2016, 2016], "y": [True, False]}))
    assert labels_by_key(folder) == {"2016": "false"}


def test_a_case_that_is_asked_twice_is_one_case(folder):
    score(folder, traffic(1))
    again = score(folder, traffic(1).with_columns(note=pl.lit("again")), name="again.csv")
    tell(folder, pl.DataFrame({"id": [2016], "y": [True]}))
    found = join(folder)
    assert found["label"].to_list() == ["true"]
    assert found["prediction_id"].to_list() == again["prediction_id"].to_list()


def test_a_window_has_its_first_moment_and_not_its_last(folder):
    score(folder, traffic(4))
    at = [START + STEP * (FIRST + number) for number in range(4)]
    assert join(folder, (at[1], at[3]))["key"].to_list() == ["2017", "2018"]


def test_a_prediction_without_an_event_time_counts_when_it_was_made(folder):
    score(folder, traffic(1).drop("at"))
    now = clock.now()
    assert join(folder, (now - timedelta(hours=1), now)).height == 1
    assert join(folder, WINDOW).is_empty()


def test_a_report_counts_labels_and_estimates_quality(folder):
    frame = traffic()
    score(folder, frame)
    tell(folder, frame.select("id", "y").head(800))
    found = report(folder)
    assert (found.predictions, found.labelled) == (336 * WEEKS, 800)
    assert found.coverage == pytest.approx(800 / 1008)
    assert found.base_rate == pytest.approx(frame["y"].head(800).mean())
    assert set(found.metrics) == {"auc", "accuracy", "logloss", "brier"}
    assert found.facts["auc"] == found.metrics["auc"]["value"] > 0.8
    assert found.window == tuple(map(clock.stamp, WINDOW))
    assert found.reference == "risk@1"


def test_traffic_like_the_training_rows_raises_no_alarm(folder):
    score(folder, traffic())
    found = report(folder)
    assert found.alarms == ()
    assert found.facts["drift"] is False
    assert found.drift["x"]["weeks"] == 4
    assert found.drift["x"]["drifted"] == 0


def test_a_planted_shift_raises_an_alarm_of_its_columns_alone(folder):
    score(folder, traffic(shift=0.4))
    found = report(folder)
    assert found.alarms == ("x", "high")
    assert found.facts["drift"] is True
    assert found.drift["x"]["drifted"] >= 2
    assert found.drift["x"]["newest"]["drifted"] is True
    assert found.drift["w"]["drifted"] == 0


def test_without_labels_quality_is_not_known_and_says_why(folder):
    score(folder, traffic(300))
    found = report(folder)
    assert (found.labelled, found.base_rate, found.facts["auc"]) == (0, None, None)
    assert found.metrics["auc"]["reason"] == "0 rows, at least 2 needed"


def test_versions_are_told_apart(folder):
    text = (folder / "project.py").read_text()
    (folder / "project.py").write_text(text.replace('"auc > champion"', '"size_mb < 9"'))
    assert carry_out(folder, "risk")[2].made == "risk@2"
    frame = traffic()
    score(folder, frame.head(400))
    score(folder, frame.tail(608), version=2, name="later.csv")
    tell(folder, frame.select("id", "y").head(500))
    found = report(folder)
    assert [(v.model, v.predictions, v.labelled) for v in found.versions] == [
        ("risk@1", 400, 400),
        ("risk@2", 608, 100),
    ]
    assert found.versions[0].metrics["auc"]["n"] == 400
    assert found.metrics["auc"]["n"] == 500
    assert found.reference == "risk@2"


def test_a_report_is_made_from_what_it_read(folder):
    frame = traffic(300)
    score(folder, frame)
    tell(folder, frame.select("id", "y"))
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        first = watch.report(session, "risk", WINDOW)
        assert watch.report(session, "risk", WINDOW) == first  # nothing else is known by now
        other = watch.report(session, "risk", (WINDOW[0], WINDOW[1] - STEP))
    assert (first.ref.version, other.ref.version) == (1, 2)
    assert first.made_from == ("table/predictions.risk@1", "table/labels.risk@1", "model/risk@1")


def test_a_report_stays_as_it_was_known(folder):
    frame = traffic(300)
    score(folder, frame)
    tell(folder, frame.select("id", "y"))
    before = report(folder)
    tell(folder, frame.select("id", ~pl.col("y")), "corrected.csv")
    after = report(folder)
    with open_workspace(folder) as workspace:
        kept = workspace.session("test").version(Ref("report", "risk", 1)).read(Report)
    assert kept == before
    assert after.facts["auc"] == pytest.approx(1 - before.facts["auc"])


def test_a_window_without_predictions_is_refused(folder):
    score(folder, traffic(3))
    with open_workspace(folder) as workspace, pytest.raises(UsageError) as caught:
        watch.report(workspace.session("test"), "risk", watch.window_of("2011-01"))
    assert caught.value.code == "CN-REPORT-002"


def test_an_endpoint_without_predictions_has_no_report(folder):
    with open_workspace(folder) as workspace, pytest.raises(NotFoundError) as caught:
        watch.report(workspace.session("test"), "risk", WINDOW)
    assert caught.value.code == "CN-REF-002"


def test_several_classes_are_reported(tmp_path):
    project = tmp_path / "project.py"
    fitted(tmp_path)
    text = (
        project.read_text()
        .replace('label="y"', 'label="w"')
        .replace('"x", "w", "high"', '"x", "high"')
    )
    project.write_text(text.replace('"auc >= 0.60", "auc > champion"', ""))
    assert [step.state for step in carry_out(tmp_path, "risk")][-1] == "done"
    frame = traffic(300)
    scored = score(tmp_path, frame, version=2)
    assert [c for c in scored.columns if c.startswith("score")] == ["score_a", "score_b", "score_c"]
    frame.select("id", "w").write_csv(tmp_path / "labels.csv")

    def label(workspace: Workspace) -> None:
        session = workspace.session("test")
        signature = open_version(session, session.version(Ref("model", "risk"))).signature
        take_labels(session, "risk", signature, "w", workspace.folder / "labels.csv")

    with open_workspace(tmp_path) as workspace:
        label(workspace)
    found = report(tmp_path)
    assert set(found.metrics) == {"accuracy", "logloss"}
    assert found.metrics["accuracy"]["n"] == 300
    assert found.base_rate is None


def test_a_label_by_the_id_of_an_earlier_prediction_of_a_case_is_not_lost(folder):
    first = score(folder, traffic(1))
    score(folder, traffic(1).with_columns(note=pl.lit("again")), name="again.csv")
    identifier = first["prediction_id"].to_list()
    tell(folder, pl.DataFrame({"prediction_id": identifier, "y": [True]}))
    found = join(folder)
    assert (found["prediction_id"].to_list(), found["label"].to_list()) == (identifier, ["true"])
