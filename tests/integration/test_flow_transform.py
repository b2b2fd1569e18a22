"""Table functions: a step is done once, a result keeps its promises, a mistake is shown."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from colonnade.base.errors import ColonnadeError, VerdictError
from colonnade.cli.main import main
from colonnade.data.transform import Built, transform
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion
from colonnade.wiring import open_workspace
from tests.projects import carry_out, empty, land

HEAD = """
import polars as pl
import colonnade as co

project = co.Project("small")
project.source("rows", "landing/rows*.csv")
project.source("names", "landing/names.csv")

"""
SIMPLE = """
@project.table(key="id", time="at")
def examples(rows):
    return rows
"""
ROWS = pl.DataFrame(
    {"id": ["2", "1"], "at": ["2013-01-02T00:00Z", "2013-01-01T00:00Z"], "x": ["5", "6"]}
)


def declared(folder: Path, table: str) -> Path:
    empty(folder, HEAD + table)
    land(folder, "rows1.csv", ROWS)
    land(folder, "names.csv", pl.DataFrame({"id": ["1", "2"], "name": ["one", "two"]}))
    return folder


def declare(folder: Path, table: str) -> None:
    (folder / "project.py").write_text(HEAD + table)


def make(folder: Path, name: str = "examples") -> Built:
    with open_workspace(folder) as workspace:
        table = workspace.project.tables[name]
        return transform(workspace.session("test"), table, workspace.folder)


def failed(folder: Path, table: str) -> ColonnadeError:
    declared(folder, table)
    carry_out(folder, "rows", "names")
    with pytest.raises(ColonnadeError) as caught:
        make(folder)
    with open_workspace(folder) as workspace:
        assert workspace.session("test").newest("table", "examples") is None
    return caught.value


def table(folder: Path, name: str) -> pl.DataFrame:
    with open_workspace(folder) as workspace:
        return workspace.session("test").scan(Ref("table", name)).collect()


def test_a_table_is_made_in_the_order_of_its_key_and_names_what_it_was_made_from(tmp_path):
    declared(tmp_path, SIMPLE)
    carry_out(tmp_path, "rows")
    built = make(tmp_path)
    assert built.done
    assert built.why == ("it was not done before",)
    assert table(tmp_path, "examples")["id"].to_list() == [1, 2]
    version = built.entry.read(TableVersion)
    assert (version.rows, version.key, version.time) == (2, ("id",), "at")
    source, code = built.entry.made_from
    assert source == "table/rows@1"
    assert code == f"code/{version.code.digest}"


def test_a_step_is_done_once(tmp_path):
    declared(tmp_path, SIMPLE)
    carry_out(tmp_path, "rows")
    first = make(tmp_path)
    again = make(tmp_path)
    assert (again.done, again.why) == (False, ())
    assert again.entry.id == first.entry.id


def test_why_names_the_input_that_changed(tmp_path):
    declared(tmp_path, SIMPLE)
    carry_out(tmp_path, "rows")
    make(tmp_path)
    land(tmp_path, "rows2.csv", ROWS.with_columns(id=pl.Series(["3", "4"])))
    carry_out(tmp_path, "rows")
    assert make(tmp_path).why == ("input rows is now rows@2, was rows@1",)
    assert table(tmp_path, "examples").height == 4


def test_why_names_the_code_that_changed(tmp_path):
    declared(tmp_path, SIMPLE)
    carry_out(tmp_path, "rows")
    make(tmp_path)
    declare(tmp_path, SIMPLE.replace("return rows", "return rows.with_columns(y=1)"))
    why = make(tmp_path).why
    assert len(why) == 1
    assert "examples" in why[0]


def test_a_comment_or_another_table_is_no_reason(tmp_path):
    declared(tmp_path, SIMPLE)
    carry_out(tmp_path, "rows")
    make(tmp_path)
    other = "\n@project.table()\ndef other(rows):\n    return rows\n"
    declare(tmp_path, SIMPLE.replace("return rows", "# a remark\n    return rows") + other)
    assert not make(tmp_path).done


def test_why_names_the_setting_that_changed(tmp_path):
    declared(tmp_path, SIMPLE)
    carry_out(tmp_path, "rows")
    make(tmp_path)
    declare(tmp_path, SIMPLE.replace(', time="at"', ""))
    assert make(tmp_path).why == ('setting time is now null, was "at"',)


def test_two_tables_are_joined_under_the_names_of_the_parameters(tmp_path):
    declared(
        tmp_path,
        """
@project.table(key="id")
def examples(rows, names):
    return rows.join(names, on="id")

@project.table(key="name")
def short(examples):
    return examples.select("name").collect()
""",
    )
    carry_out(tmp_path)
    assert table(tmp_path, "examples")["name"].to_list() == ["one", "two"]
    assert table(tmp_path, "short")["name"].to_list() == ["one", "two"]
    with open_workspace(tmp_path) as workspace:
        made_from = workspace.session("test").version(Ref("table", "examples")).made_from
    assert made_from[:2] == ("table/rows@1", "table/names@1")


def test_a_key_that_is_not_unique_is_a_verdict(tmp_path):
    error = failed(tmp_path, '@project.table(key="one")\ndef examples(rows):\n'
                             "    return rows.with_columns(one=1)\n")  # fmt: skip
    assert isinstance(error, VerdictError)
    assert error.code == "CN-TABLE-006"
    assert "2 rows have only 1 different keys (one)" in error.message


@pytest.mark.parametrize("column", ["id", "at"])
def test_a_missing_key_or_time_is_a_verdict(tmp_path, column):
    body = f"rows.with_columns(pl.when(pl.col('x') > 5).then('{column}').alias('{column}'))"
    error = failed(tmp_path, SIMPLE.replace("return rows", f"return {body}"))
    assert error.code == "CN-TABLE-006"
    assert f"{column} is missing in 1 of 2 rows" in error.message


@pytest.mark.parametrize(("column", "hint"), [("id", "idx"), ("at", "att")])
def test_a_key_or_time_that_is_not_returned_is_named(tmp_path, column, hint):
    error = failed(
        tmp_path, SIMPLE.replace("return rows", f"return rows.rename({{'{column}': '{hint}'}})")
    )
    assert error.code == "CN-TABLE-005"
    assert f"its column {column!r} is not in the result; did you mean {hint!r}?" in error.message


def test_a_time_that_is_a_text_is_refused(tmp_path):
    body = "rows.with_columns(pl.col('at').dt.to_string())"
    error = failed(tmp_path, SIMPLE.replace("return rows", f"return {body}"))
    assert error.code == "CN-TABLE-009"
    assert "its time at has the type String" in error.message


@pytest.mark.parametrize(
    ("body", "found"), [("None", "NoneType"), ("1", "int"), ("rows.collect().to_dict()", "dict")]
)
def test_a_result_that_is_no_frame_is_refused(tmp_path, body, found):
    error = failed(tmp_path, SIMPLE.replace("return rows", f"return {body}"))
    assert error.code == "CN-TABLE-004"
    assert f"the function returned {found}" in error.message


@pytest.mark.parametrize("body", ["pl.col('x').cast(pl.Duration)", "pl.lit(None)"])
def test_a_type_that_no_table_holds_is_named(tmp_path, body):
    error = failed(tmp_path, SIMPLE.replace("return rows", f"return rows.with_columns(odd={body})"))
    assert error.code == "CN-TABLE-001"
    assert "column odd" in error.message


def test_a_table_is_asked_for_before_its_source_has_landed(tmp_path):
    empty(tmp_path, HEAD + SIMPLE)
    with pytest.raises(ColonnadeError) as caught:
        make(tmp_path)
    assert caught.value.code == "CN-REF-002"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("rows.select('no_such')", "ColumnNotFoundError"),
        ("rows.with_columns(pl.col('x').map_elements(int.missing))", "AttributeError"),
    ],
)
def test_what_the_function_raises_is_shown_with_its_line_and_none_of_ours(
    tmp_path, capsys, monkeypatch, body, said
):
    declared(tmp_path, SIMPLE.replace("return rows", f"return {body}"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(["run", "examples"])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    line = next(n for n, text in enumerate((HEAD + SIMPLE).splitlines(), 1) if "return" in text)
    if "select" in body:  # a lazy frame raises when it is collected, outside of the function
        line -= 2
    else:
        assert f'project.py", line {line}' in shown
    assert f"CN-CODE-001: table examples failed at {tmp_path}/project.py:{line}: " in shown
    assert said in shown
    assert "src/colonnade" not in shown
    assert "site-packages" not in shown
