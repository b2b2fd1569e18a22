"""Tables that SQL makes: inputs, lineage and step as of a function; a mistake points at the SQL."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, UsageError
from colonnade.compute import code
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import carry_out, empty, land

PROJECT = """
import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv")
project.source("names", "landing/names.csv")
project.table("examples", sql={sql!r}, key="id", time="at"{more})
"""
SQL = """-- the rows, with names
WITH named AS (SELECT w, name FROM names)
SELECT r.id, r.at, r.x, n.name
FROM rows AS r
LEFT JOIN named AS n ON r.w = n.w
WHERE r.x > 0
"""
ROWS = pl.DataFrame(
    {"id": [1, 2, 3], "at": ["2013-01-01T00:00Z"] * 3, "x": [0, 1, 2], "w": ["a", "b", "c"]}
)
NAMES = pl.DataFrame({"w": ["a", "b"], "name": ["ah", "be"]})


def declared(folder: Path, sql: str = "examples.sql", text: str = SQL, more: str = "") -> Path:
    empty(folder, PROJECT.format(sql=sql, more=more))
    (folder / "examples.sql").write_text(text)
    land(folder, "rows1.csv", ROWS)
    land(folder, "names.csv", NAMES)
    return folder


def table(folder: Path) -> list[tuple]:
    with open_workspace(folder) as workspace:
        found = workspace.session("test").scan(Ref("table", "examples")).collect()
        return sorted(found.select("id", "x", "name").rows())


def refused(folder: Path, text: str) -> str:
    declared(folder, text=text)
    with pytest.raises(ColonnadeError) as caught:
        carry_out(folder, "examples")
    return f"{caught.value.code}: {caught.value.message}"


@pytest.mark.parametrize("sql", ["examples.sql", SQL])
def test_a_query_makes_a_table_from_the_tables_that_it_names(tmp_path, sql):
    declared(tmp_path, sql)
    steps = carry_out(tmp_path)
    assert [(step.name, step.state) for step in steps] == [
        ("rows", "done"), ("names", "done"), ("examples", "done"),
    ]  # fmt: skip
    assert table(tmp_path) == [(2, 1, "be"), (3, 2, None)]
    assert [step.state for step in carry_out(tmp_path)] == ["up to date"] * 3


def test_its_text_is_its_code_and_is_kept_with_the_version(tmp_path):
    declared(tmp_path)
    carry_out(tmp_path)
    (tmp_path / "examples.sql").write_text(SQL.replace("> 0", "> 1"))
    assert carry_out(tmp_path)[-1].why == ("query examples.sql changed",)
    assert table(tmp_path) == [(3, 2, None)]
    with open_workspace(tmp_path) as workspace:
        session = workspace.session("test")
        entry = session.version(Ref("table", "examples"))
        assert set(entry.made_from) >= {"table/rows@1", "table/names@1"}
        kept = entry.read(TableVersion).code
        assert session.blob(kept.files["examples.sql"]).decode().endswith("WHERE r.x > 1\n")
        assert set(kept.files) == {"project.py", "examples.sql"}


def test_a_query_is_made_step_by_step_too(tmp_path):
    declared(tmp_path, more=', partition="month"')
    carry_out(tmp_path)
    more = ROWS.with_columns(pl.col("id") + 10, pl.lit("2013-02-01T00:00Z").alias("at"))
    land(tmp_path, "rows2.csv", more)
    assert carry_out(tmp_path)[-1].why[-1] == "made: 2013-02"
    assert len(table(tmp_path)) == 4


def test_a_mistake_in_the_syntax_is_refused_when_the_project_is_read(tmp_path):
    told = refused(tmp_path, "SELECT id,\n  at FROM rows r q\n")
    assert told.startswith("CN-SQL-002: table examples: examples.sql:2 cannot be used: sql parser")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("DROP TABLE rows", "it selects nothing"),
        ("SELECT * FROM rows; DROP TABLE rows", "it is more than one statement"),
        ("SELECT * FROM read_csv('landing/rows1.csv')", "reads around the project's sources"),
        ("SELECT 1 AS id", "it reads no table"),
        ("-- nothing", "it selects nothing"),
    ],
)
def test_a_query_that_does_something_else_is_refused(tmp_path, text, why):
    told = refused(tmp_path, text)
    assert told.startswith("CN-SQL-002: table examples: examples.sql")
    assert why in told


def test_a_column_that_is_not_there_is_told_with_its_line(tmp_path):
    told = refused(tmp_path, "SELECT id, at,\n  nope\nFROM rows")
    assert told.startswith("CN-SQL-003: table examples failed at examples.sql:2: ")
    assert "nope" in told


def test_a_cell_is_not_quoted(tmp_path):
    told = refused(tmp_path, "SELECT id, at, CAST(w AS INTEGER) AS name FROM rows")
    assert told.startswith("CN-SQL-003: table examples failed at examples.sql:1: conversion from")
    assert told.endswith("some values")


def test_a_text_with_the_words_of_a_statement_is_none(tmp_path):
    declared(tmp_path, text="SELECT id, at, x, 'a; read_csv(x)' AS name FROM rows")
    carry_out(tmp_path)
    assert table(tmp_path)[0][2] == "a; read_csv(x)"


def test_a_table_that_nobody_declared_is_told(tmp_path):
    told = refused(tmp_path, "SELECT * FROM rosw")
    assert told.startswith("CN-PROJECT-005: examples.sql: table examples reads 'rosw'")


def test_a_file_that_is_not_there_is_told(tmp_path):
    declared(tmp_path)
    (tmp_path / "examples.sql").unlink()
    with pytest.raises(UsageError, match=r"CN-SQL-001: .* No such file"):
        code.load(tmp_path)


@pytest.mark.parametrize("sql", ["../examples.sql", "/etc/examples.sql", "", "  "])
def test_a_query_is_a_text_or_a_file_of_the_project(tmp_path, sql):
    empty(tmp_path, PROJECT.format(sql=sql, more=""))
    with pytest.raises(UsageError, match="CN-PROJECT-009"):
        code.load(tmp_path)
