"""``data show``: schema, quality and distributions of a version, and how two differ."""

from __future__ import annotations

import json

import polars as pl
import pytest

from colonnade.cli.main import run
from colonnade.wiring import open_workspace
from tests.projects import carry_out, empty, land

PROJECT = """
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv")
project.source("list", "landing/list.csv")

@project.table(key="id", time="at")
def examples(rows):
    return rows.with_columns(constant=pl.lit(1.0), nothing=pl.lit(None, pl.Float64))
"""


def rows(first, count, word="a"):
    return pl.DataFrame(
        {
            "id": range(first, first + count),
            "at": [f"2013-01-{1 + number % 28:02}" for number in range(count)],
            "x": [str(number) if number % 4 else None for number in range(count)],
            "word": [word if number % 5 else "rare" for number in range(count)],
        }
    )


@pytest.fixture
def folder(tmp_path):
    empty(tmp_path, PROJECT)
    bad = pl.DataFrame({"id": ["one"], "at": ["2013-01-01"], "x": ["1"], "word": ["a"]})
    land(tmp_path, "rows1.csv", rows(0, 100))
    land(tmp_path, "list.csv", rows(0, 40))
    carry_out(tmp_path)
    land(tmp_path, "rows2.csv", pl.concat([rows(100, 100, "b").cast(pl.String), bad]))
    land(tmp_path, "list.csv", rows(0, 20, "c").rename({"x": "y"}).with_columns(word=pl.lit(7)))
    (tmp_path / "contracts" / "list.yaml").unlink()
    carry_out(tmp_path)
    return tmp_path


def shown(folder, capsys, *words):
    capsys.readouterr()
    code = run(["data", "show", *words, "--project", str(folder)])
    return code, capsys.readouterr()


def answer(folder, capsys, *words):
    code, said = shown(folder, capsys, *words, "--json")
    assert code == 0, said.out
    return json.loads(said.out)["answer"]


def test_a_version_is_its_quality_and_every_column(folder, capsys):
    look = answer(folder, capsys, "rows")["look"]
    assert (look["version"], look["rows"]) == ("rows@2", 200)
    quality = look["quality"]
    assert (quality["rows"], quality["good"], quality["bad"]) == (101, 100, 1)
    assert quality["reasons"] == {"id|integer": 1}
    columns = {column["name"]: column for column in look["columns"]}
    x = columns["x"]
    assert (x["missing"], x["low"], x["high"]) == (0.25, 1, 99)
    assert x["mean"] == pytest.approx(sum(n for n in range(100) if n % 4) / 75)
    assert columns["at"]["low"] == "2013-01-01"
    assert columns["word"]["words"] == {"a": 0.4, "rare": 0.2}


def test_shares_are_those_of_the_rows(folder, capsys):
    columns = answer(folder, capsys, "examples")["look"]["columns"]
    x = next(column for column in columns if column["name"] == "x")
    with open_workspace(folder) as workspace:
        session = workspace.session("test")
        values = session.scan(session.find("table", "examples").ref).select("x").collect()["x"]
    present = values.drop_nulls().to_list()
    edges = [1 + place * (99 - 1) / 12 for place in range(13)]
    for place, share in enumerate(x["shares"]):
        low, high = edges[place], edges[place + 1]
        exact = sum(low < value <= high for value in present) / len(present)
        assert share == pytest.approx(exact, abs=0.05)
    assert sum(x["shares"]) == pytest.approx(1)


def test_what_has_no_distribution_is_left_empty(folder, capsys):
    columns = {c["name"]: c for c in answer(folder, capsys, "examples")["look"]["columns"]}
    assert (columns["constant"]["low"], columns["constant"]["shares"]) == (1, [])
    assert (columns["nothing"]["missing"], columns["nothing"]["mean"]) == (1, None)


def test_two_versions_differ_by_rows_missing_values_and_distance(folder, capsys):
    found = answer(folder, capsys, "rows", "--diff", "1", "2")
    assert (found["before"], found["now"], found["rows"]) == ("rows@1", "rows@2", [100, 200])
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["word"]["total_variation"] == pytest.approx(0.4)
    assert columns["x"]["total_variation"] == pytest.approx(0, abs=1e-9)
    assert columns["id"]["ks"] == pytest.approx(0.5, abs=0.02)
    same = answer(folder, capsys, "rows", "--diff", "2", "2")
    assert {column["ks"] for column in same["columns"]} <= {None, 0}


def test_a_column_is_added_removed_or_retyped(folder, capsys):
    found = answer(folder, capsys, "list", "--diff", "1", "2")
    changes = {c["name"]: (c["change"], c["type"]) for c in found["columns"] if c["change"]}
    assert changes == {
        "y": ("added", "Int64"), "x": ("removed", "Int64"), "word": ("retyped", "String -> Int64"),
    }  # fmt: skip


def test_people_see_bars_words_and_the_two_values(folder, capsys):
    code, said = shown(folder, capsys, "rows@2", "--rows", "1")
    assert code == 0
    assert (
        "landed with it: 101 rows, 100 good, 1 bad under contract/rows@1: id|integer 1" in said.out
    )
    assert "█" in said.out
    assert "rare 20%" in said.out
    code, said = shown(folder, capsys, "rows", "--diff", "1", "2")
    assert code == 0
    assert "rows@1: 100 rows; rows@2: 200 rows (+100)" in said.out


def test_looking_is_a_read(folder, capsys):
    shown(folder, capsys, "rows@1")
    with open_workspace(folder) as workspace:
        newest = workspace.session("test").entries(kind="table", verb="read", limit=1)[0]
    assert (newest.subject, newest.body["purpose"]) == ("table/rows@1", "data show")


def test_a_version_that_is_not_there_is_said(folder, capsys):
    code, said = shown(folder, capsys, "rows", "--diff", "1", "9")
    assert (code, "CN-REF-002" in said.err) == (2, True)
