from __future__ import annotations

import datetime as dt
import hashlib
import os
import time
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake
from polars.testing import assert_frame_equal

from colonnade.base.errors import UsageError
from colonnade.store.tables import Commit, Tables

DAY = dt.datetime(2013, 1, 1)  # noqa: DTZ001 (a column without a zone is one of the types)
ROWS = pl.DataFrame({"id": [1, 2], "word": ["a", None]})


@pytest.fixture
def tables(tmp_path):
    return Tables(tmp_path / "tables")


def test_appending_and_replacing_make_versions_that_stay_readable(tables):
    assert tables.write("t", ROWS, "append", "one") == 0
    assert tables.write("t", ROWS, "append", "two") == 1
    assert tables.write("t", ROWS.head(1), "replace", "three") == 2
    assert [tables.rows("t", version) for version in range(3)] == [2, 4, 1]
    assert_frame_equal(tables.scan("t", 0).collect(), ROWS)


def test_a_version_is_made_to_last_with_every_file_that_it_added(tables, tmp_path, monkeypatch):
    synced = []
    names = Path("/proc/self/fd")
    monkeypatch.setattr("os.fsync", lambda fd: synced.append((names / str(fd)).readlink()))
    for version in (0, 1):
        tables.write("t", ROWS, "append", "")
        synced.clear()
        tables.settle("t", version, version - 1)
        root = tmp_path / "tables" / "t"
        parts = [root / part for part in tables.parts("t", version, version - 1)]
        log = root / "_delta_log"
        assert synced == [log / f"{version:020}.json", *parts, log, root, root.parent]
        assert len(parts) == 1


def test_no_rows_are_rows_too(tables):
    assert tables.write("t", ROWS.clear(), "append", "") == 0
    assert tables.write("t", ROWS, "append", "") == 1
    assert tables.scan("t", 0).collect().schema == ROWS.schema
    assert tables.rows("t", 1) == 2


EXACT = {
    "integers": pl.Series([1, None, -3], dtype=pl.Int8),
    "small": pl.Series([1.5, None, 2.5], dtype=pl.Float32),
    "flags": pl.Series([True, None, False]),
    "days": pl.Series([dt.date(2013, 1, 1), None, dt.date(1900, 2, 28)]),
    "moments": pl.Series([DAY.replace(microsecond=456789), None, DAY.replace(year=1)]),
    "bytes": pl.Series([b"a", None, b"\x00"]),
    "lists": pl.Series([["a", None], None, []]),
    "structs": pl.Series([{"a": 1, "b": "x"}, {"a": None, "b": None}, {"a": 2, "b": ""}]),
    "a name with spaces": pl.Series(["é", "", None]),
}


def test_what_can_be_kept_comes_back_exactly(tables):
    frame = pl.DataFrame(EXACT)
    version = tables.write("t", frame, "append", "")
    assert_frame_equal(tables.scan("t", version).collect(), frame)


@pytest.mark.parametrize(
    ("column", "kept"),
    [
        (pl.Series([0, 255], dtype=pl.UInt8), pl.Int16()),
        (pl.Series([0, 65_535], dtype=pl.UInt16), pl.Int32()),
        (pl.Series([0, 2**32 - 1], dtype=pl.UInt32), pl.Int64()),
        (pl.Series(["a", "b"], dtype=pl.Categorical), pl.String()),
        (pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])), pl.String()),
        (pl.Series([DAY] * 2, dtype=pl.Datetime("ms")), pl.Datetime("us")),
    ],
)
def test_what_delta_would_change_is_widened_without_loss(tables, column, kept):
    version = tables.write("t", pl.DataFrame({"c": column}), "append", "")
    found = tables.scan("t", version).collect()["c"]
    assert found.dtype == kept
    assert found.to_list() == column.to_list()


def test_an_instant_is_kept_as_utc_and_can_be_appended_again(tables):
    moment = dt.datetime(2013, 7, 1, 12, tzinfo=dt.UTC)
    frame = pl.DataFrame({"at": [moment]}).with_columns(
        pl.col("at").dt.convert_time_zone("America/New_York")
    )
    tables.write("t", frame, "append", "")
    version = tables.write("t", frame, "append", "")
    found = tables.scan("t", version).collect()["at"]
    assert found.dtype == pl.Datetime("us", "UTC")
    assert found.to_list() == [moment, moment]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([DAY], dtype=pl.Datetime("ns")),
        pl.Series([dt.time(1)]),
        pl.Series([dt.timedelta(1)]),
        pl.Series([None]),
        pl.Series([["a"]], dtype=pl.List(pl.Categorical)),
        pl.Series([[None]], dtype=pl.List(pl.Null)),
        pl.Series([[1]], dtype=pl.List(pl.UInt8)),
        pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
        pl.Series([2**64 - 1], dtype=pl.UInt64),
        pl.Series([Decimal("1.5")]),
        pl.Series([{"a": dt.time(1)}]),
        pl.Series([object()], dtype=pl.Object),
    ],
    ids=lambda column: str(column.dtype),
)
def test_what_delta_cannot_keep_is_refused_before_anything_is_written(tables, tmp_path, column):
    with pytest.raises(UsageError, match=r"CN-TABLE-001.* c ") as refused:
        tables.write("t", pl.DataFrame({"id": [1], "c": column}), "append", "")
    assert str(column.dtype) in refused.value.message
    assert not (tmp_path / "tables").exists()


def test_columns_that_differ_only_in_case_are_refused(tables):
    with pytest.raises(UsageError, match="CN-TABLE-008"):
        tables.write("t", pl.DataFrame({"Tail": [1], "tail": [2]}), "append", "")


@pytest.mark.parametrize(
    "column",
    [pl.Series([2.75]), pl.Series(["7"]), pl.Series([True]), pl.Series([1], dtype=pl.Int8)],
)
def test_appending_another_type_is_refused(tables, column):
    tables.write("t", ROWS, "append", "")
    with pytest.raises(UsageError, match=r"CN-TABLE-002.* id ") as refused:
        tables.write("t", pl.DataFrame({"id": column}), "append", "")
    assert "Int64" in refused.value.message
    assert tables.unnamed("t", 0) == []


def test_new_and_missing_columns_are_null_where_they_are_not(tables):
    tables.write("t", ROWS, "append", "")
    version = tables.write("t", pl.DataFrame({"id": [3], "more": [1.5]}), "append", "")
    rows = tables.scan("t", version).sort("id").collect()
    assert rows["more"].to_list() == [None, None, 1.5]
    assert rows["word"].to_list() == ["a", None, None]


def test_replacing_may_change_the_columns(tables):
    tables.write("t", ROWS, "append", "")
    version = tables.write("t", pl.DataFrame({"id": ["x"]}), "replace", "")
    assert tables.scan("t", version).collect().schema == {"id": pl.String}
    assert tables.scan("t", 0).collect().schema == ROWS.schema


def test_every_commit_carries_its_draft(tables):
    assert tables.unnamed("t", -1) == []
    for draft in ("one", '{"two": "é"}'):
        tables.write("t", ROWS, "append", draft)
    both = [Commit(0, "one"), Commit(1, '{"two": "é"}')]
    assert tables.unnamed("t", -1) == both
    assert tables.unnamed("t", 0) == both[1:]
    assert tables.unnamed("t", 1) == []


def test_undoing_brings_a_version_back_as_a_new_one(tables):
    tables.write("t", ROWS, "append", "one")
    tables.write("t", pl.DataFrame({"id": [9], "strange": [True]}), "replace", "two")
    assert tables.undo("t", 0, "undone") == 2
    assert_frame_equal(tables.scan("t", 2).collect(), ROWS)
    assert tables.unnamed("t", 1) == [Commit(2, "undone")]
    tables.write("t", ROWS, "append", "three")
    assert tables.rows("t", 3) == 4


def test_the_parts_of_a_version_are_the_files_that_it_added(tables, tmp_path):
    for _ in range(2):
        tables.write("t", ROWS, "append", "")
    whole, added = tables.parts("t", 1), tables.parts("t", 1, 0)
    assert len(whole) == 2
    assert len(added) == 1
    assert added.items() <= whole.items()
    for path, digest in whole.items():
        data = (tmp_path / "tables" / "t" / path).read_bytes()
        assert digest == hashlib.sha256(data).hexdigest()


def test_an_old_version_stays_readable_when_delta_tidies_its_log(tables, tmp_path):
    path = tmp_path / "tables" / "t"
    path.mkdir(parents=True)
    often = {"delta.checkpointInterval": "4"}  # by default it is every hundredth commit
    write_deltalake(path, ROWS, configuration=often)
    for _ in range(6):
        tables.write("t", ROWS.head(1), "append", "")
    long_ago = time.time() - 400 * 86_400
    for file in (path / "_delta_log").iterdir():
        os.utime(file, (long_ago, long_ago))
    for _ in range(4):
        tables.write("t", ROWS.head(1), "append", "")
        tables.undo("t", 1, "")
    assert list((path / "_delta_log").glob("*.checkpoint.parquet"))
    assert [tables.rows("t", version) for version in range(3)] == [2, 3, 4]


@pytest.mark.parametrize("name", ["my project", "prøjekt", "a+b&c=d"])
def test_a_project_may_lie_in_a_folder_with_any_name(tmp_path, name):
    tables = Tables(tmp_path / name)
    version = tables.write("predictions.late", ROWS, "append", "")
    found = tables.scan("predictions.late", version).filter(pl.col("id") > 1).collect()
    assert_frame_equal(found, ROWS.tail(1))
    assert len(tables.parts("predictions.late", version)) == 1
