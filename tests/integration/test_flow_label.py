"""Late labels: by id or key, strictly read, added once; what is wrong takes nothing over."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.data.label import Labelled, take_labels
from colonnade.records.model import Field, Signature
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import empty

BINARY = Signature(
    features=(), task="binary", classes=("false", "true"), key=(Field(name="id", kind="integer"),)
)
WORDS = Signature(features=(), task="multiclass", classes=("a", "b", "c"), key=BINARY.key)
AMOUNT = Signature(features=(), task="regression", key=BINARY.key)
KEYLESS = Signature(features=(), task="binary", classes=("false", "true"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return empty(tmp_path)


def label(
    folder: Path, content: str | bytes | pl.DataFrame, signature: Signature = BINARY,
    name: str = "labels.csv",
) -> Labelled:  # fmt: skip
    path = folder / name
    if isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_workspace(folder) as workspace:
        return take_labels(workspace.session("test"), "risk", signature, "y", path)


def refused(
    folder: Path, content: str | bytes | pl.DataFrame, signature=BINARY, **more
) -> UsageError:
    with pytest.raises(UsageError) as caught:
        label(folder, content, signature, **more)
    with open_workspace(folder) as workspace:
        assert workspace.session("test").newest("table", "labels.risk") is None
    return caught.value


def table(folder: Path) -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", "labels.risk")).collect()


def test_labels_by_key_carry_the_keys_text(folder):
    found = label(folder, "id,y,observed_at\n7,true,2013-02-12\n8,0,2013-02-13T00:00:00Z\n")
    assert (found.rows, found.done) == (2, True)
    rows = table(folder).sort("key")
    assert rows["key"].to_list() == ["7", "8"]
    assert rows["label"].to_list() == ["true", "false"]
    assert rows["prediction_id"].to_list() == [None, None]
    assert rows["observed_at"].dt.to_string("%m-%d").to_list() == ["02-12", "02-13"]


def test_labels_by_id_need_no_key(folder):
    assert label(folder, "prediction_id,label\np1,true\np2,false\n", KEYLESS).rows == 2
    assert sorted(table(folder)["prediction_id"].to_list()) == ["p1", "p2"]


def test_an_outcome_without_a_time_was_observed_when_it_was_recorded(folder):
    label(folder, "id,y\n7,true\n")
    row = table(folder).row(0, named=True)
    assert abs((row["recorded_at"] - row["observed_at"]).total_seconds()) < 60


def test_the_same_file_is_taken_once(folder):
    first = label(folder, "id,y\n7,true\n")
    again = label(folder, "id,y\n7,true\n")
    assert (first.done, again.done, again.rows) == (True, False, 1)
    assert again.entry.ref == first.entry.ref
    other = label(folder, "id,y\n7,true\n", name="copy.csv")
    assert table(folder).height == other.entry.read(TableVersion).rows


def test_a_file_of_labels_may_have_any_name(folder):
    assert label(folder, "id,y\n7,true\n", name="labels (1).csv").rows == 1


def test_rows_that_have_no_label_yet_are_left_out(folder):
    assert label(folder, "id,y\n7,true\n8,\n").rows == 1
    nothing = label(folder, "id,y\n9,\n", name="none.csv")
    assert (nothing.rows, nothing.done) == (0, True)


def test_classes_are_spelt_as_the_model_spells_them(folder):
    label(folder, "id,y\n1,a\n2,c\n", WORDS)
    assert sorted(table(folder)["label"].to_list()) == ["a", "c"]


def test_a_stored_number_is_a_class_where_the_model_has_it(folder):
    numbers = Signature(features=(), task="multiclass", classes=("0", "1", "2"), key=BINARY.key)
    label(folder, pl.DataFrame({"id": [1, 2], "y": [0, 2]}), numbers, name="labels.parquet")
    assert sorted(table(folder)["label"].to_list()) == ["0", "2"]


def test_values_are_labels_of_a_regression(folder):
    label(folder, "id,y\n1,2.5\n2,-3\n", AMOUNT)
    assert sorted(table(folder)["label"].cast(pl.Float64).to_list()) == [-3.0, 2.5]


def test_keys_that_another_program_stored_as_numbers_meet_the_integers(folder):
    label(folder, pl.DataFrame({"id": [7.0, 8.0], "y": [True, False]}), name="labels.parquet")
    assert sorted(table(folder)["key"].to_list()) == ["7", "8"]


@pytest.mark.parametrize(
    ("content", "signature", "said"),
    [
        ("id,late\n7,true\n", BINARY, "has no column 'y'"),
        ("idd,y\n7,true\n", BINARY, "has no column 'id'; did you mean 'idd'?"),
        ("id,y\n7,true\n", KEYLESS, "has no column 'prediction_id'"),
    ],
)
def test_a_column_that_is_missing_is_named(folder, content, signature, said):
    error = refused(folder, content, signature)
    assert error.code == "CN-LABEL-001"
    assert said in error.message


@pytest.mark.parametrize(
    ("content", "signature", "said"),
    [
        ("id,y\n7,yes\n8,true\n", BINARY, "1 cells of y cannot be read as boolean"),
        ("id,y\n7,d\n8,e\n9,a\n", WORDS, "2 labels in y are none of the model's classes (a, b, c)"),
        ("id,y\n7,high\n", AMOUNT, "1 cells of y cannot be read as number"),
        ("id,y\nseven,true\n", BINARY, "1 cells of id cannot be read as integer"),
        ("id,y\n,true\n", BINARY, "1 cells of id are missing"),
        ("prediction_id,y\n,true\np,true\n", BINARY, "1 cells of prediction_id are missing"),
        ("id,y,observed_at\n7,true,soon\n", BINARY, "1 cells of observed_at cannot be read"),
    ],
)
def test_a_cell_that_cannot_be_read_is_counted_by_its_column(folder, content, signature, said):
    error = refused(folder, content, signature)
    assert error.code == "CN-LABEL-002"
    assert said in error.message


@pytest.mark.parametrize("frame", [{"id": [7.5], "y": [True]}, {"id": [7], "y": [2]}])
def test_a_stored_value_is_not_cut_to_fit(folder, frame):
    error = refused(folder, pl.DataFrame(frame), name="labels.parquet")
    assert error.code == "CN-LABEL-002"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("labels.csv", b"id,y\n7,\xff\n", "CN-SOURCE-003"),
        ("labels.csv", b"", "CN-SOURCE-003"),
        ("labels.txt", b"id,y\n7,true\n", "CN-SOURCE-002"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(folder, name, content, code):
    assert refused(folder, content, name=name).code == code
