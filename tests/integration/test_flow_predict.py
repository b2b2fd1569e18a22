"""Batch predictions: each file once by a version, the scores of the serving path, all logged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.govern.models import open_version
from colonnade.lifecycle.predict import Predicted, predict
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import PROJECT, answered, colonnade, empty, fitted, land, rows

TRAFFIC = rows(2000, 50).with_columns(high=pl.col("x") > 0.5).drop("y")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fitted(tmp_path)


def score(
    folder: Path, source: str = "in.csv", target: str = "out.csv", endpoint: str = "risk"
) -> Predicted:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        entry = session.version(Ref("model", "risk"))
        return predict(session, endpoint, entry, folder / source, folder / target)


def refused(folder: Path, **names: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        score(folder, **names)
    with open_workspace(folder) as workspace:
        assert workspace.session("test").newest("table", "predictions.risk") is None
    assert not (folder / "out.csv").exists()
    return caught.value


def logged(folder: Path, endpoint: str = "risk") -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        return session.scan(Ref("table", f"predictions.{endpoint}")).collect()


def test_every_row_comes_out_with_its_prediction(folder):
    TRAFFIC.with_columns(note=pl.lit("kept")).write_csv(folder / "in.csv")
    done = score(folder)
    out = pl.read_csv(folder / "out.csv")
    assert (done.rows, done.done, done.table) == (50, True, "predictions.risk@1")
    assert out["id"].to_list() == TRAFFIC["id"].to_list()
    assert out["note"].to_list() == ["kept"] * 50
    assert out["prediction_id"][0] == done.first_id
    assert out["prediction_id"].is_unique().all()
    assert set(out["model_version"]) == {"risk@1"}
    assert out["score"].is_between(0, 1).all()


def test_the_scores_are_those_of_a_request(folder):
    TRAFFIC.write_csv(folder / "in.csv")
    score(folder)
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        predictor = open_version(session, session.version(Ref("model", "risk")))
        body = json.dumps({"rows": TRAFFIC.to_dicts()}).encode()
        asked = predictor.predict_rows(predictor.decode(body))
    np.testing.assert_array_equal(
        pl.read_csv(folder / "out.csv")["score"].to_numpy().astype(np.float32), asked
    )


def test_the_log_has_what_an_endpoint_would_have_logged(folder):
    TRAFFIC.write_csv(folder / "in.csv")
    score(folder)
    row = logged(folder).sort("prediction_id").row(0, named=True)
    first = TRAFFIC.row(0, named=True)
    assert (row["key"], row["model"], row["version"], row["route"]) == ("2000", "risk", 1, "batch")
    assert row["event_time"].strftime("%Y-%m-%dT%H:%M:%SZ") == first["at"]
    assert (row["feature_x"], row["feature_w"], row["feature_high"]) == (
        first["x"],
        first["w"],
        first["high"],
    )
    assert (row["caller"], row["segment"]) == ("admin", 0)
    assert row["score"] == pytest.approx(pl.read_csv(folder / "out.csv")["score"][0])
    with open_workspace(folder) as workspace:
        entry = workspace.session("test").version(Ref("table", "predictions.risk"))
    assert entry.made_from[0] == "model/risk@1"
    assert entry.made_from[1].startswith("file/")
    assert entry.read(TableVersion).segments[0].rows == 50


def test_a_file_is_scored_once_and_written_again_under_its_ids(folder):
    TRAFFIC.write_csv(folder / "in.csv")
    first = score(folder)
    again = score(folder, target="again.csv")
    assert (first.done, again.done, again.table) == (True, False, first.table)
    assert (folder / "again.csv").read_bytes() == (folder / "out.csv").read_bytes()
    assert logged(folder).height == 50


def test_a_file_that_was_scored_comes_out_again_after_others(folder):
    TRAFFIC.write_csv(folder / "in.csv")
    first = score(folder)
    TRAFFIC.head(3).write_csv(folder / "other.csv")
    assert score(folder, "other.csv", "other-out.csv").done
    again = score(folder, target="again.csv")
    assert (again.done, again.first_id) == (False, first.first_id)
    assert pl.read_csv(folder / "again.csv").height == 50


def test_each_endpoint_has_its_own_log(folder):
    TRAFFIC.write_csv(folder / "in.csv")
    first = score(folder)
    other = score(folder, target="other.csv", endpoint="other")
    assert other.done
    assert other.first_id != first.first_id
    assert logged(folder, "other").height == logged(folder).height == 50


def test_parquet_and_zipped_csv_are_scored_alike(folder):
    typed = TRAFFIC.with_columns(pl.col("at").str.to_datetime(time_zone="UTC"))
    typed.write_parquet(folder / "in.parquet")
    with zipfile.ZipFile(folder / "in.csv.zip", "w") as archive:
        archive.writestr("in.csv", TRAFFIC.write_csv())
    score(folder, "in.parquet", "a.parquet")
    score(folder, "in.csv.zip", "b.csv")
    a, b = pl.read_parquet(folder / "a.parquet"), pl.read_csv(folder / "b.csv")
    np.testing.assert_allclose(a["score"].to_numpy(), b["score"].to_numpy(), atol=1e-9)
    assert logged(folder)["event_time"].n_unique() == 50


def test_missing_cells_and_new_words_are_scored_as_missing(folder):
    TRAFFIC.head(3).with_columns(
        x=pl.Series([None, 0.5, 0.5]), w=pl.Series(["a", None, "never seen"])
    ).write_csv(folder / "in.csv")
    score(folder)
    scores = pl.read_csv(folder / "out.csv")["score"]
    assert scores.null_count() == 0
    assert logged(folder)["feature_w"].to_list().count("never seen") == 1


def test_key_and_time_are_taken_along_where_the_file_has_them(folder):
    TRAFFIC.select("x", "w", "high").write_csv(folder / "in.csv")
    score(folder)
    row = logged(folder).row(0, named=True)
    assert (row["key"], row["event_time"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (pl.col("x").alias("xx"), "CN-PREDICT-004", None),
        (pl.lit("high").alias("x"), "CN-PREDICT-004", "row 1 of x cannot be read as number"),
        (pl.lit("yes").alias("high"), "CN-PREDICT-004", "row 1 of high cannot be read as boolean"),
        (pl.lit("soon").alias("at"), "CN-PREDICT-004", "row 1 of at cannot be read as timestamp"),
        (pl.lit("7.5").alias("id"), "CN-PREDICT-004", "row 1 of id cannot be read as integer"),
    ],
)
def test_a_cell_that_cannot_be_read_stops_the_file(folder, change, code, said):
    frame = TRAFFIC.with_columns(change)
    (frame.drop("x") if said is None else frame).write_csv(folder / "in.csv")
    error = refused(folder)
    assert error.code == code
    assert (said or "has no column 'x', which the model reads; did you mean 'xx'?") in error.message


@pytest.mark.parametrize(
    ("source", "content", "code"),
    [
        ("in.csv", b"x,w,high\n", "CN-PREDICT-006"),
        ("in.csv", b"", "CN-SOURCE-003"),
        ("in.csv", b"x,w,high\n0.5,\xff,true\n", "CN-SOURCE-003"),
        ("in.parquet", b"PAR1", "CN-SOURCE-003"),
        ("in.txt", b"x", "CN-SOURCE-002"),
    ],
)
def test_a_file_that_cannot_be_scored_is_named(folder, source, content, code):
    (folder / source).write_bytes(content)
    assert refused(folder, source=source).code == code


@pytest.mark.parametrize("target", ["out.xlsx", "nowhere/out.csv", "in.csv"])
def test_a_target_that_cannot_be_written_is_refused_before_anything_is_predicted(folder, target):
    TRAFFIC.write_csv(folder / "in.csv")
    before = (folder / "in.csv").read_bytes()
    assert refused(folder, target=target).code == "CN-PREDICT-005"
    assert (folder / "in.csv").read_bytes() == before


def test_the_command_takes_the_live_version_of_the_models_endpoint(tmp_path, capsys):
    empty(tmp_path, PROJECT.replace("deploy(risk,", 'deploy(risk, name="front",'))
    land(tmp_path, "rows1.csv", rows(0, 400))
    assert colonnade(tmp_path, "run") == 0
    text = (tmp_path / "project.py").read_text()
    (tmp_path / "project.py").write_text(text.replace('"auc > champion"', "").replace("=10", "=9"))
    assert colonnade(tmp_path, "run", "risk") == 0
    assert colonnade(tmp_path, "model", "rollback", "front") == 0
    TRAFFIC.write_csv(tmp_path / "in.csv")
    capsys.readouterr()
    files = ["--in", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv")]
    assert colonnade(tmp_path, "predict", "risk", *files, "--json") == 0
    assert answered(capsys.readouterr().out)["table"] == "predictions.front@1"
    assert set(pl.read_csv(tmp_path / "out.csv")["model_version"]) == {"risk@1"}
